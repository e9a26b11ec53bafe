"""The chat's page in Chromium: two people, a restart, a phone, an attack."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest

from tests.examples.running import Example

playwright = pytest.importorskip(
    "playwright.sync_api", reason="playwright is not installed"
)
expect = playwright.expect
expect.set_options(timeout=20_000)  # milliseconds; machines are busy at times
Visit = Callable[..., Any]

PHONE = {
    "viewport": {"width": 360, "height": 640},
    "is_mobile": True,
    "has_touch": True,
    "device_scale_factor": 2,
}


def part(page: Any, name: str) -> Any:
    return page.locator(f'[data-part="{name}"]')


def notices(page: Any) -> Any:
    return page.locator(".dwchat-notice")


def enter(page: Any, name: str) -> Any:
    page.get_by_label("Your name", exact=True).fill(name)
    page.get_by_role("button", name="Enter", exact=True).click()
    expect_state(page, "online")
    expect(page.get_by_role("dialog")).to_be_hidden()  # let in
    return page


def expect_state(page: Any, state: str) -> None:
    expect(part(page, "state")).to_have_attribute("data-state", state)


def say(page: Any, text: str) -> None:
    page.get_by_label("Message", exact=True).fill(text)
    page.keyboard.press("Enter")


def bubbles(page: Any) -> Any:
    return part(page, "log").locator(".dwchat-bubble")


def move(page: Any) -> None:
    """Put the panel elsewhere on the page."""
    page.locator("dwebsocket-chat").evaluate(
        "(panel) => {"
        " const place = document.createElement('div');"
        " panel.replaceWith(place);"
        " place.append(panel); }"
    )


def pending(page: Any) -> Any:
    return part(page, "pending").locator(".dwchat-bubble")


def people(page: Any) -> Any:
    return part(page, "people").locator("bdi")


def test_two_pages_see_each_other_and_what_they_say(visit: Visit) -> None:
    ana = enter(visit(), "Ana")
    expect(people(ana)).to_have_text(["Ana"])
    li = enter(visit(), "李小龙 🐉")
    expect(people(li)).to_have_text(["李小龙 🐉", "Ana"])
    expect(people(ana)).to_have_text(["Ana", "李小龙 🐉"])
    expect(ana.get_by_role("log")).to_contain_text("李小龙 🐉 joined")

    li.get_by_label("Message", exact=True).press_sequentially("你")
    expect(part(ana, "typing")).to_have_text("李小龙 🐉 is writing…")
    say(li, "你好 👋🏽")
    say(ana, "Hello!")
    for page in (ana, li):
        expect(bubbles(page)).to_have_text(["你好 👋🏽", "Hello!"])
    expect(part(ana, "typing")).to_have_text("")
    expect(pending(ana)).to_have_count(0)

    li.close()
    expect(people(ana)).to_have_text(["Ana"])
    expect(ana.get_by_role("log")).to_contain_text("李小龙 🐉 left")


def test_pages_come_back_by_themselves_and_lose_nothing(
    visit: Visit, chat: Example
) -> None:
    ana, li = enter(visit(), "Ana"), enter(visit(), "Li")
    say(ana, "before the restart")
    expect(bubbles(li)).to_have_text(["before the restart"])

    chat.stop()
    for page in (ana, li):
        expect_state(page, "waiting")
        expect(part(page, "bar")).to_contain_text("No connection.")
    say(ana, "written meanwhile")
    expect(pending(ana)).to_have_text(["written meanwhile"])
    ana.get_by_label("Message", exact=True).fill("a draft")

    chat.start()
    for page in (ana, li):
        expect(part(page, "state")).to_have_attribute(
            "data-state", "online", timeout=30_000
        )
        expect(bubbles(page)).to_have_text(["before the restart", "written meanwhile"])
        expect(part(page, "bar")).to_be_hidden()
    expect(pending(ana)).to_have_count(0)
    expect(ana.get_by_label("Message", exact=True)).to_have_value("a draft")
    expect(people(ana)).to_have_text(["Ana", "Li"])
    # Who was there before is no news.
    expect(notices(ana)).to_have_text([re.compile("^Li joined")])

    say(li, "and back again")
    expect(bubbles(ana).last).to_have_text("and back again")


def test_a_reload_keeps_name_conversation_and_draft(visit: Visit) -> None:
    ana, li = enter(visit(), "Ana"), enter(visit(), "Li")
    say(li, "stay a while")
    expect(bubbles(ana)).to_have_text(["stay a while"])
    ana.get_by_label("Message", exact=True).fill("I was about to")
    ana.reload()
    expect_state(ana, "online")
    expect(bubbles(ana)).to_have_text(["stay a while"])
    expect(ana.get_by_label("Message", exact=True)).to_have_value("I was about to")
    expect(people(li)).to_have_text(["Li", "Ana"])


def test_names_and_messages_are_never_html(visit: Visit) -> None:
    evil = "<img src=x onerror=alert(1)>"
    dialogs: list[str] = []
    ana = visit()
    ana.on("dialog", lambda dialog: (dialogs.append(dialog.message), dialog.dismiss()))
    enter(ana, "Ana")
    eve = enter(visit(), evil)
    texts = [evil, "<script>alert(2)</script>", "javascript:alert(3) \"'></li>"]
    for text in texts:
        say(eve, text)
    expect(bubbles(ana)).to_have_text(texts)
    expect(people(ana)).to_have_text(["Ana", evil])
    say(eve, 'https://example.org/?a=<b>&c="d" and javascript:alert(4)')
    link = bubbles(ana).last.locator("a")
    expect(link).to_have_attribute("href", "https://example.org/?a=")
    expect(link).to_have_attribute("rel", re.compile("noopener"))
    assert ana.locator(".dwchat img, .dwchat script, nav img").count() == 0
    assert dialogs == []


def test_a_name_in_use_is_answered_with_a_free_one(visit: Visit) -> None:
    enter(visit(), "Ana")
    second = visit()
    second.get_by_label("Your name", exact=True).fill("ana")
    second.get_by_role("button", name="Enter", exact=True).click()
    expect(second.get_by_role("alert").filter(has_text="already")).to_be_visible()
    expect(second.get_by_label("Your name", exact=True)).to_have_value("ana 2")
    second.get_by_role("button", name="Enter", exact=True).click()
    expect(people(second)).to_have_text(["ana 2", "Ana"])


def test_another_window_is_the_same_person(visit: Visit) -> None:
    first, li = enter(visit(), "Ana"), enter(visit(), "Li")
    say(first, "said here")
    expect(bubbles(first)).to_have_text(["said here"])
    with first.context.expect_page() as opened:
        # It gets a copy of the session storage, as a duplicated tab does.
        first.evaluate("void window.open(location.href)")
    second = opened.value
    expect_state(second, "online")
    say(second, "said there")
    for page in (first, second, li):
        expect(bubbles(page)).to_have_text(["said here", "said there"])
    expect(people(li)).to_have_text(["Li", "Ana"])
    first.close()
    say(second, "still here")
    expect(bubbles(li).last).to_have_text("still here")
    expect(people(li)).to_have_text(["Li", "Ana"])


def test_who_enters_two_rooms_at_once_is_asked_once(visit: Visit) -> None:
    page = visit()
    page.evaluate("""() => {
        const other = document.querySelector("dwebsocket-chat").cloneNode(true);
        other.setAttribute("room", "other");
        document.querySelector("main").append(other);
    }""")
    panels = page.locator("dwebsocket-chat")
    panels.first.get_by_label("Your name", exact=True).fill("Ana")
    panels.first.get_by_label("Your name", exact=True).press("Enter")
    for number in range(2):
        expect(people(panels.nth(number))).to_have_text(["Ana"])
    expect(page.get_by_role("dialog")).to_have_count(0)
    panels.nth(1).evaluate("(chat) => chat.room.say('only here')")
    expect(bubbles(panels.nth(1))).to_have_text(["only here"])
    expect(bubbles(panels.first)).to_have_count(0)


def test_people_may_change_their_names(visit: Visit) -> None:
    ana, li = enter(visit(), "Ana"), enter(visit(), "Li")
    ana.get_by_role("button", name="Change").click()
    ana.get_by_label("Your name", exact=True).fill("Li")
    ana.keyboard.press("Enter")
    expect(ana.get_by_label("Your name", exact=True)).to_have_value("Li 2")
    ana.get_by_label("Your name", exact=True).fill("Anna")
    ana.keyboard.press("Enter")
    expect(people(li)).to_have_text(["Li", "Anna"])
    expect(notices(li)).to_contain_text(["Ana is now Anna"])
    expect(people(ana)).to_have_text(["Anna", "Li"])


def test_writing_fast_sends_everything_once_and_in_order(visit: Visit) -> None:
    ana, li = enter(visit(), "Ana"), enter(visit(), "Li")
    texts = [f"number {number}" for number in range(12)]
    # All at once: between keys typed on a busy machine, the limit forgets.
    ana.locator("dwebsocket-chat").evaluate(
        "(chat, texts) => texts.forEach((text) => chat.room.say(text))", texts
    )
    expect(ana.get_by_role("alert").filter(has_text="One moment")).to_be_visible()
    expect(bubbles(li)).to_have_text(texts)
    expect(bubbles(ana)).to_have_text(texts)


def test_it_fits_a_phone(visit: Visit) -> None:
    page = enter(visit(**PHONE), "Ana")
    say(page, "a_word_without_a_space_" * 20)
    expect(bubbles(page)).to_have_count(1)
    width, inner = page.evaluate(
        "[document.documentElement.scrollWidth, document.documentElement.clientWidth]"
    )
    assert width <= inner == 360
    field = page.get_by_label("Message", exact=True)
    for control in (field, page.get_by_role("button", name="Send")):
        box = control.bounding_box()
        assert box["y"] + box["height"] <= 640
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= 360
    # Below 16px, a phone zooms in on a field that gets the focus.
    sizes = page.eval_on_selector_all(
        "input, textarea",
        "all => all.map(e => parseFloat(getComputedStyle(e).fontSize))",
    )
    assert min(sizes) >= 16

    expect(people(page).first).not_to_be_visible()
    page.get_by_role("button", name="1 person here").tap()
    expect(people(page)).to_have_text(["Ana"])
    expect(people(page).first).to_be_visible()
    page.keyboard.press("Escape")
    expect(people(page).first).not_to_be_visible()


def test_it_can_be_used_with_the_keyboard_alone(visit: Visit) -> None:
    page = visit()
    expect(page.get_by_label("Your name", exact=True)).to_be_focused()
    page.keyboard.type("Ana")
    page.keyboard.press("Enter")
    expect_state(page, "online")
    expect(page.get_by_label("Message", exact=True)).to_be_focused()
    page.keyboard.type("first line")
    page.keyboard.press("Shift+Enter")
    page.keyboard.type("second line")
    page.keyboard.press("Enter")
    expect(bubbles(page)).to_have_text(["first line\nsecond line"], use_inner_text=True)
    expect(page.get_by_role("log")).to_have_attribute("aria-label", "Messages")
    page.get_by_label("Open another room").first.fill("Tea house")
    page.keyboard.press("Enter")
    expect(page).to_have_url(re.compile("/rooms/tea-house/$"))
    expect_state(page, "online")
    expect(page.locator("nav [aria-current]")).to_contain_text("tea-house")


def test_it_speaks_chinese_to_those_who_do(visit: Visit) -> None:
    page = visit(locale="zh-CN", color_scheme="dark")
    page.get_by_label("昵称", exact=True).fill("小明")
    page.get_by_role("button", name="进入", exact=True).click()
    expect(part(page, "state-text")).to_have_text("已连接")
    expect(page.get_by_role("button", name="发送")).to_be_visible()


def test_what_came_meanwhile_is_counted(visit: Visit) -> None:
    ana, li = enter(visit(), "Ana"), enter(visit(), "Li")
    ana.evaluate("dispatchEvent(new Event('blur'))")
    say(li, "are you there?")
    expect(ana).to_have_title("(1) #lobby · Chat")
    expect(ana.locator(".dwchat-fresh")).to_have_text("New")
    ana.evaluate("dispatchEvent(new Event('focus'))")
    expect(ana).to_have_title("#lobby · Chat")


def test_a_panel_may_be_moved(visit: Visit) -> None:
    page = enter(visit(), "Ana")
    for text in ("one", "two"):
        say(page, text)
    expect(bubbles(page)).to_have_text(["one", "two"])
    move(page)
    expect_state(page, "online")
    say(page, "three")
    expect(pending(page)).to_have_count(0)
    expect(bubbles(page)).to_have_text(["one", "two", "three"])


def test_a_panel_may_be_exchanged(visit: Visit) -> None:
    ana, bo = visit(), visit()
    enter(ana, "Ana")
    enter(bo, "Bo")
    say(ana, "before")
    expect(bubbles(bo)).to_have_text(["before"])
    # As htmx does: the new one comes before the old one goes.
    ana.evaluate(
        """async () => {
            const response = await fetch(location.href);
            const text = await response.text();
            const page = new DOMParser().parseFromString(text, "text/html");
            const old = document.querySelector("dwebsocket-chat");
            const fresh = page.querySelector("dwebsocket-chat");
            old.before(document.importNode(fresh, true));
            old.remove();
        }"""
    )
    expect(bubbles(ana)).to_have_text(["before"])
    say(bo, "after")
    expect(bubbles(ana)).to_have_text(["before", "after"])
    say(ana, "again")
    expect(bubbles(bo)).to_have_text(["before", "after", "again"])


def refuse(panel: Any, code: str) -> None:
    """Have the room of a panel say that the server has not let the page in."""
    panel.evaluate(
        "(panel, code) => void panel.room.dispatchEvent("
        "Object.assign(new Event('refused'), { code, suggestion: '' }))",
        code,
    )


def test_who_needs_another_room_is_not_asked_for_another_name(visit: Visit) -> None:
    page = visit()
    panel, dialog = page.locator("dwebsocket-chat"), page.get_by_role("dialog")
    expect(dialog).to_be_visible()
    refuse(panel, "room_full")
    expect(dialog).to_be_hidden()
    expect(part(page, "complaint")).to_have_text(re.compile("^This room is full"))
    refuse(panel, "name_taken")
    expect(dialog).to_be_visible()
    expect(part(page, "name-cancel")).to_be_hidden()
    # A code of the site's, perhaps.
    refuse(panel, "closing time")
    page.keyboard.press("Escape")
    expect(dialog).to_be_hidden()
    expect(part(page, "complaint")).to_have_text("closing time")


def test_a_refused_message_is_put_before_what_is_typed(visit: Visit) -> None:
    page = enter(visit(), "Ana")
    field = page.get_by_label("Message", exact=True)
    for text, shown in (("refused", "refused"), ("too", "too\nrefused and more")):
        page.locator("dwebsocket-chat").evaluate(
            "({ room }, text) => void room.dispatchEvent(Object.assign("
            "new Event('declined'), { code: 'failed', text, again: false }))",
            text,
        )
        expect(field).to_have_value(shown)
        field.press("End")
        field.press_sequentially(" and more")


def test_who_only_reads_is_told_of_a_refusal(visit: Visit) -> None:
    page = enter(visit(), "Ana")
    page.evaluate("""() => {
        const other = document.querySelector("dwebsocket-chat").cloneNode(true);
        other.setAttribute("room", "other");
        other.querySelector('[data-part="composer"]').remove();
        document.querySelector("main").append(other);
        return new Promise((entered) => {
            other.room.addEventListener("ready", () => entered(), { once: true });
        });
    }""")
    panel = page.locator("dwebsocket-chat").nth(1)
    refuse(panel, "forbidden")
    expect(part(panel, "complaint")).to_have_text("That is not allowed here.")


def test_a_reader_stays_where_they_are_while_something_waits(
    visit: Visit, chat: Example
) -> None:
    page = enter(visit(), "Ana")
    chat.stop()
    expect_state(page, "waiting")
    part(page, "log").evaluate("(log) => (log.style.minHeight = '3000px')")
    say(page, "written meanwhile")
    expect(pending(page)).to_have_count(1)
    scroll, top = part(page, "scroll"), "(scroll) => scroll.scrollTop"
    assert scroll.evaluate(top) > 0
    scroll.evaluate("(scroll) => (scroll.scrollTop = 0)")
    expect(part(page, "jump")).to_be_visible()
    page.locator("dwebsocket-chat").evaluate("({ line }) => line.retry()")
    expect_state(page, "waiting")
    assert scroll.evaluate(top) == 0
    say(page, "and more")
    expect(pending(page)).to_have_count(2)
    assert scroll.evaluate(top) > 0


def test_a_screen_reader_reads_what_is_new_not_the_history(visit: Visit) -> None:
    ana, li = enter(visit(), "Ana"), visit()
    say(ana, "old")
    expect(bubbles(ana)).to_have_text(["old"])
    watch = """() => {
        window.read = [];
        const log = document.querySelector('[data-part=log]');
        const note = (element) => [
            element.querySelector('.dwchat-bubble')?.textContent,
            element.closest('[role=log]').getAttribute('aria-live') ?? 'polite',
        ];
        const changed = (changes) => changes.forEach(({ addedNodes }) => {
            read.push(...[...addedNodes].map(note));
        });
        new MutationObserver(changed).observe(log, { childList: true });
    }"""
    li.evaluate(watch)
    read = "read.splice(0).filter(([text]) => text)"
    enter(li, "Li")
    expect(bubbles(li)).to_have_text(["old"])
    assert li.evaluate(read) == [["old", "off"]]
    expect(li.get_by_role("log")).to_have_attribute("aria-live", "polite")
    say(ana, "new")
    expect(bubbles(li)).to_have_text(["old", "new"])
    assert li.evaluate(read) == [["new", "polite"]]
    # The history comes once more to a panel that has been moved.
    move(li)
    expect(bubbles(li)).to_have_text(["old", "new"])
    assert li.evaluate(read) == [["old", "off"], ["new", "off"]]


def test_what_comes_before_the_first_look_is_counted(visit: Visit) -> None:
    ana, li = enter(visit(), "Ana"), enter(visit(), "Li")
    # As in a tab that is opened behind this one.
    ana.add_init_script("document.hasFocus = () => false")
    ana.reload()
    expect(people(ana)).to_have_text(["Ana", "Li"])
    say(li, "are you there?")
    expect(ana).to_have_title("(1) #lobby · Chat")


def test_who_comes_takes_nobody_the_focus(visit: Visit) -> None:
    ana = enter(visit(), "Ana")
    ana.get_by_role("button", name="Change").focus()
    enter(visit(), "Li")
    expect(people(ana)).to_have_text(["Ana", "Li"])
    expect(ana.get_by_role("button", name="Change")).to_be_focused()


def test_the_focus_of_a_button_that_hides_stays_in_the_panel(
    visit: Visit, chat: Example
) -> None:
    page = enter(visit(), "Ana")
    chat.stop()
    expect_state(page, "waiting")
    page.get_by_role("button", name="Try now").press("Enter")
    expect(page.get_by_role("region", name="Conversation")).to_be_focused()
