"""Headless Chromium as one of the clients."""

from __future__ import annotations

import base64
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from playwright.sync_api import Page, sync_playwright

from .clients import TIMEOUT, Client, Message, page_url

_CONNECT = """
async (url) => {
    const ws = new WebSocket(url);
    ws.binaryType = "arraybuffer";
    window.ws = ws;
    window.inbox = [];
    window.wake = () => {};
    const put = (item) => { inbox.push(item); wake(); };
    ws.onmessage = (event) => put({data: event.data});
    ws.onclose = (event) => put({code: event.code, reason: event.reason});
    window.take = async () => {
        if (!inbox.length) await new Promise((resolve) => { wake = resolve; });
        return inbox.shift();
    };
    await new Promise((resolve, reject) => {
        ws.onopen = resolve;
        ws.onerror = () => reject(new Error("not connected"));
    });
    return ws.extensions;
}
"""
_SEND_BINARY = """
async (text) => {
    const answer = await fetch("data:application/octet-stream;base64," + text);
    ws.send(await answer.arrayBuffer());
}
"""
_TAKE = """
async () => {
    const item = await take();
    if (!(item.data instanceof ArrayBuffer)) return item;
    const blob = new Blob([item.data]);
    const url = await new Promise((resolve) => {
        const reader = new FileReader();
        reader.onload = () => resolve(reader.result);
        reader.readAsDataURL(blob);
    });
    return {binary: url.slice(url.indexOf(",") + 1)};
}
"""
_ECHOES = """
async ([size, binary]) => {
    if (!binary) {
        const text = "é".repeat(size / 2);
        ws.send(text);
        return (await take()).data === text;
    }
    const bytes = new Uint8Array(size);
    for (let at = 0; at < size; at += 65536) {
        crypto.getRandomValues(bytes.subarray(at, at + 65536));
    }
    ws.send(bytes);
    const answer = new Uint8Array((await take()).data);
    return answer.length === size && answer.every((byte, at) => byte === bytes[at]);
}
"""


def executable() -> str | None:
    """Return the path of Chromium, or None."""
    return shutil.which("chromium") or shutil.which("chromium-browser")


class Browser:
    """A running Chromium.

    Playwright gets a thread of its own, since it allows no second instance in one.
    """

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1)
        self.run(self._start)

    def run(self, function: Callable[..., Any], *args: Any) -> Any:
        """Call a function of Playwright's and return what it returns."""
        return self._thread.submit(function, *args).result()

    def _start(self) -> None:
        self._playwright = sync_playwright().start()
        self._browser = self._playwright.chromium.launch(
            executable_path=executable(),
            args=["--no-sandbox", "--disable-dev-shm-usage", "--no-proxy-server"],
        )

    def page(self) -> Page:
        """Open a page that nothing was loaded into before."""
        page: Page = self.run(self._browser.new_page)
        page.set_default_timeout(TIMEOUT * 1000)
        return page

    def stop(self) -> None:
        """End it."""
        self.run(self._browser.close)
        self.run(self._playwright.stop)
        self._thread.shutdown()


class Chromium(Client):
    """A page in headless Chromium. It always offers compression."""

    #: Where pages come from; started by a fixture.
    browser: Browser

    def __init__(self, url: str, compression: bool) -> None:
        if not compression:
            # The browser cannot be told: the server does not agree to it.
            head, slash, path = url.rpartition("/")
            url = f"{head}/plain{slash}{path}"
        self._page = self.browser.page()
        try:
            self.browser.run(self._page.goto, page_url(url))
            self._extensions = self._evaluate(_CONNECT, url)
        except BaseException:
            self.end()
            raise

    def _evaluate(self, script: str, argument: Any = None) -> Any:
        return self.browser.run(self._page.evaluate, script, argument)

    def extensions(self) -> str:
        return str(self._extensions)

    def send(self, message: Message) -> None:
        if isinstance(message, str):
            self._evaluate("(text) => ws.send(text)", message)
        else:
            self._evaluate(_SEND_BINARY, base64.b64encode(message).decode())

    def receive(self) -> Message:
        item = self._evaluate(_TAKE)
        if "binary" in item:
            return base64.b64decode(item["binary"])
        return str(item["data"])

    def close(self, code: int, reason: str) -> None:
        self._evaluate("([code, reason]) => ws.close(code, reason)", [code, reason])
        self.closed()

    def closed(self) -> tuple[int, str]:
        item = self._evaluate(_TAKE)
        return item["code"], item["reason"]

    def echoes(self, size: int, binary: bool) -> bool:
        # In the page: getting so much in and out of it takes long.
        return bool(self._evaluate(_ECHOES, [size, binary]))

    def end(self) -> None:
        self.browser.run(self._page.close)
