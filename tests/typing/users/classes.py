"""Views that are classes."""

from __future__ import annotations

from typing import Any, assert_type

from django.contrib.auth.decorators import login_required
from django.contrib.auth.mixins import LoginRequiredMixin
from django.contrib.auth.models import User
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.urls import path
from django.utils.decorators import method_decorator
from django.views.decorators.csrf import csrf_exempt
from django.views.generic import DetailView, TemplateView, View

from dwebsocket import (
    ClassicWebSocketRequest,
    WebSocketRequest,
    accept_websocket,
    require_websocket,
    websocket,
)


class Direct(View):
    @websocket
    def get(self, request: WebSocketRequest, room: str) -> None:
        self.greet(request, room)
        for message in request.websocket:
            assert_type(message, str | bytes)

    def greet(self, request: WebSocketRequest, room: str) -> None:
        request.websocket.send(room)


class WithArguments(View):
    @accept_websocket(max_message_size=1)
    def get(self, request: ClassicWebSocketRequest) -> HttpResponse | None:
        assert_type(request.websocket.wait(), bytes | None)
        return None

    def post(self, request: HttpRequest) -> HttpResponse:
        return HttpResponse()


class ByMethodDecorator(View):
    @method_decorator(websocket)
    def get(self, request: WebSocketRequest) -> HttpResponse:
        request.websocket.send("hello")
        return HttpResponse()

    @method_decorator(websocket)
    def put(self, request: WebSocketRequest) -> None:
        request.websocket.send("hello")


class ByMethodDecoratorWithArguments(View):
    @method_decorator(require_websocket(idle_timeout=5))
    def get(self, request: ClassicWebSocketRequest) -> None: ...


@method_decorator(websocket, name="get")
class Named(View):
    def get(self, request: WebSocketRequest) -> None: ...


@method_decorator([csrf_exempt, login_required, websocket], name="dispatch")
class Several(LoginRequiredMixin, View):
    def get(self, request: WebSocketRequest, *args: Any, **kwargs: Any) -> None:
        if request.user.is_authenticated:
            request.websocket.send(request.user.get_username())


class Page(TemplateView):
    template_name = "page.html"

    @websocket
    def get(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        return super().get(request, *args, **kwargs)


class Dispatching(TemplateView):
    @websocket
    def dispatch(
        self, request: HttpRequest, *args: Any, **kwargs: Any
    ) -> HttpResponseBase:
        return super().dispatch(request, *args, **kwargs)


class Detail(DetailView[User]):
    model = User

    @accept_websocket
    def get(
        self, request: ClassicWebSocketRequest, *args: Any, **kwargs: Any
    ) -> HttpResponse:
        if not request.is_websocket():
            return super().get(request, *args, **kwargs)
        request.websocket.send(str(self.get_object().pk))
        return HttpResponse()


class ByAttribute(DetailView[User]):
    request: WebSocketRequest  # pyright: ignore[reportIncompatibleVariableOverride]

    @websocket
    def get(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        if not self.request.is_websocket():
            return super().get(request, *args, **kwargs)
        assert_type(self.request.websocket.wait(), str | bytes | None)
        return HttpResponse()


class Rooms:
    """A class that only holds views."""

    @staticmethod
    @websocket
    def static(request: WebSocketRequest, room: str) -> None: ...

    @websocket
    def lobby(self, request: WebSocketRequest) -> None: ...

    @classmethod
    @websocket
    def shared(cls, request: WebSocketRequest) -> None: ...

    def urls(self) -> list[Any]:
        return [
            path("static/<str:room>/", self.static),
            path("lobby/", self.lobby),
            path("shared/", Rooms.shared),
        ]


class Callable:
    def __call__(self, request: WebSocketRequest, room: str) -> None: ...


urlpatterns = [
    path("direct/<str:room>/", Direct.as_view()),
    path("arguments/", WithArguments.as_view()),
    path("method/", ByMethodDecorator.as_view()),
    path("required/", ByMethodDecoratorWithArguments.as_view()),
    path("named/", Named.as_view()),
    path("several/", Several.as_view()),
    path("page/", Page.as_view(template_name="page.html")),
    path("dispatching/", Dispatching.as_view()),
    path("detail/<int:pk>/", Detail.as_view()),
    path("outside/", websocket(Direct.as_view())),
    path("exempt/", csrf_exempt(accept_websocket(dialect="modern")(Named.as_view()))),
    path("callable/<str:room>/", websocket(Callable())),
]

Direct().get(HttpRequest(), "lobby")
# error: mypy=arg-type pyright=reportArgumentType
Direct().get(HttpRequest(), 7)
# error: mypy=call-arg pyright=reportCallIssue
Direct().get(HttpRequest())
