"""Several projects in a browser, several tabs, and two people on one server who see nothing of each other.

The tests on one app build on each other in file order.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import pytest
from playwright.sync_api import Browser, Page, Request, expect

from assistant.users import Users
from tests.browser.conftest import RunningApp, running_app
from tests.browser.test_journey import say, visit

PASSWORDS = {"anna": "correct horse", "ben": "battery staple"}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("projects")


@pytest.fixture(scope="module")
def app(home: Path) -> Iterator[RunningApp]:
    with running_app(home / "local", "embedded") as app:
        yield app


@pytest.fixture
def other(browser: Browser) -> Iterator[Page]:
    """A second tab."""
    with closing(browser.new_page(viewport={"width": 1440, "height": 900})) as page:
        page.set_default_timeout(60_000)
        yield page


def expect_project(page: Page, name: str) -> None:
    expect(page.locator("#project input")).to_have_value(name)


def menu(page: Page) -> None:
    """Open the menu of the bar."""
    page.get_by_role("button", name="Manage projects").click()
    expect(page.locator("#tw-menu")).to_be_visible()


def choose(page: Page, name: str) -> None:
    page.locator("#project input").click()
    page.get_by_role("option", name=name, exact=True).click()
    expect_project(page, name)


def test_a_project_is_renamed(app: RunningApp, page: Page) -> None:
    visit(page, app)
    say(page, "Route support tickets to a team. Labels: billing, delivery, technical")
    menu(page)
    page.locator("#project-name textarea").fill("Ticket routing")
    page.get_by_role("button", name="Rename").click()
    expect_project(page, "Ticket routing")
    expect(page.locator("#tw-menu")).to_be_hidden()
    page.reload()
    expect_project(page, "Ticket routing")
    expect(page.locator("#chat")).to_contain_text("Labels: billing")


def test_a_copy_goes_its_own_way(app: RunningApp, page: Page) -> None:
    visit(page, app)
    menu(page)
    page.get_by_role("button", name="Duplicate").click()
    expect_project(page, "Ticket routing (copy)")
    expect(page.locator("#chat")).to_contain_text("Labels: billing")
    say(page, "The tickets come from a zeppelin")
    choose(page, "Ticket routing")
    expect(page.locator("#chat")).not_to_contain_text("zeppelin")


def test_a_reload_comes_back_to_the_project_of_the_tab(app: RunningApp, page: Page, other: Page) -> None:
    visit(page, app)
    choose(page, "Ticket routing (copy)")
    visit(other, app)  # what was opened last
    expect_project(other, "Ticket routing (copy)")
    choose(other, "Ticket routing")
    page.reload()
    expect(page.locator("#chat")).to_contain_text("zeppelin")
    expect_project(page, "Ticket routing (copy)")
    other.reload()
    expect_project(other, "Ticket routing")


def test_two_tabs_hold_one_conversation(app: RunningApp, page: Page, other: Page) -> None:
    visit(page, app)
    choose(page, "Ticket routing")
    visit(other, app)
    expect_project(other, "Ticket routing")
    say(other, "The language is German")
    expect(page.locator("#chat")).to_contain_text("The language is German")
    count = other.locator("#chat .bot.message").count()
    expect(page.locator("#chat .bot.message")).to_have_count(count)
    say(page, "What do you advise?")
    expect(other.locator("#chat")).to_contain_text("What do you advise?")


def test_search_finds_what_was_said(app: RunningApp, page: Page) -> None:
    visit(page, app)
    menu(page)
    page.locator("#project-search textarea").fill("ZEPPELIN")
    expect(page.locator("#project-found")).to_contain_text("1 found")
    page.locator("#project-found label", has_text="zeppelin").click()
    expect_project(page, "Ticket routing (copy)")
    expect(page.locator("#chat")).to_contain_text("zeppelin")
    menu(page)
    expect(page.locator("#project-search textarea")).to_have_value("")
    page.locator("#project-search textarea").fill("submarine")
    expect(page.locator("#project-found")).to_contain_text("Nothing found")
    page.keyboard.press("Escape")
    expect(page.locator("#tw-menu")).to_be_hidden()


def test_a_deletion_is_undone_and_done_again_and_brought_back(app: RunningApp, page: Page, other: Page) -> None:
    visit(page, app)
    expect_project(page, "Ticket routing (copy)")
    visit(other, app)
    menu(page)
    page.get_by_role("button", name="Delete").click()
    expect_project(page, "Ticket routing")
    expect(page.locator("#tw-undo")).to_contain_text("Ticket routing (copy) is deleted, and kept until")
    expect_project(other, "Ticket routing")  # the tab that still had it goes on with another
    page.get_by_role("button", name="Undo").click()
    expect_project(page, "Ticket routing (copy)")
    expect(page.locator("#chat")).to_contain_text("zeppelin")
    expect(page.locator("#tw-undo")).to_be_hidden()
    menu(page)
    page.get_by_role("button", name="Delete").click()
    expect_project(page, "Ticket routing")
    page.reload()  # then there is no Undo any more, but the menu has it
    expect_project(page, "Ticket routing")
    menu(page)
    page.get_by_role("button", name="Bring back").click()
    expect_project(page, "Ticket routing (copy)")


def test_after_a_restart_the_conversation_goes_on(app: RunningApp, page: Page, home: Path) -> None:
    app.process.kill()
    app.process.wait(30)
    with running_app(home / "local", "embedded") as again:
        visit(page, again)
        expect_project(page, "Ticket routing (copy)")
        expect(page.locator("#chat")).to_contain_text("zeppelin")
        say(page, "What is known?")


# Two people.


@pytest.fixture(scope="module")
def shared(home: Path) -> Iterator[RunningApp]:
    """One server with a login for two."""
    for name, password in PASSWORDS.items():
        Users(home / "users").add(name, password)
    with running_app(home / "shared", "embedded", TUNEWRIGHT_USERS=str(home / "users")) as app:
        yield app


def sign_in(page: Page, app: RunningApp, name: str, password: str) -> None:
    page.goto(app.url)
    page.get_by_label("username").fill(name)
    page.get_by_label("password").fill(password)
    page.get_by_role("button", name="Login").click()


def test_a_wrong_password_shows_nothing(shared: RunningApp, page: Page) -> None:
    sign_in(page, shared, "anna", "battery staple")
    expect(page.locator("body")).to_contain_text(re.compile("incorrect", re.I))
    expect(page.locator("#chat")).to_have_count(0)
    assert httpx.get(f"{shared.url}/gradio_api/info").status_code == 401


def test_two_people_see_only_their_own(shared: RunningApp, page: Page, browser: Browser) -> None:
    joined: list[Request] = []
    page.on("request", lambda request: joined.append(request) if "queue/join" in request.url else None)
    sign_in(page, shared, "anna", PASSWORDS["anna"])
    expect(page.locator("#chat")).to_contain_text("What should the model do?")
    say(page, "Route secret tickets to a team. Labels: billing, delivery")
    with closing(browser.new_context()) as context:
        his = context.new_page()
        his.set_default_timeout(60_000)
        sign_in(his, shared, "ben", PASSWORDS["ben"])
        expect_project(his, "New project")
        his.goto(page.url)  # her address, with the id of her project in it
        expect_project(his, "New project")
        expect(his.locator("#chat")).to_contain_text("What should the model do?")
        expect(his.locator("#chat")).not_to_contain_text("secret")
        menu(his)
        expect(his.locator("#tw-user")).to_contain_text("Signed in as ben")
        his.locator("#project-search textarea").fill("secret")
        expect(his.locator("#project-found")).to_contain_text("Nothing found")
    bodies = [json.loads(request.post_data or "{}") for request in joined]
    opening = next(body for body in bodies if body["data"] == [])
    redraw = next(body for body in bodies if len(body["data"]) == 2)
    assert _sent(shared, "anna", opening)["success"]
    drawn = _sent(shared, "anna", redraw)
    assert drawn["success"] and "secret" in json.dumps(drawn)  # so that the refusal below is for the right reason
    refused = _sent(shared, "ben", redraw)
    assert not refused["success"] and "does not exist any more" in json.dumps(refused)
    assert "secret" not in json.dumps(refused)
    page.get_by_role("button", name="Manage projects").click()
    page.get_by_role("link", name="Log out").click()
    expect(page.get_by_label("username")).to_be_visible()


def _sent(app: RunningApp, name: str, event: dict[str, Any]) -> dict[str, Any]:
    """What comes of an event that this user sends in a session which is Anna's."""
    session = "annas"
    with httpx.Client(base_url=app.url, timeout=60) as client:
        assert client.post("/login", data={"username": name, "password": PASSWORDS[name]}).status_code == 200
        client.post("/gradio_api/queue/join", json={**event, "session_hash": session}).raise_for_status()
        with client.stream("GET", "/gradio_api/queue/data", params={"session_hash": session}) as stream:
            for line in stream.iter_lines():
                said = json.loads(line.removeprefix("data: ")) if line.startswith("data: ") else {}
                if said.get("msg") == "process_completed":
                    return {**said["output"], "success": said["success"]}
    raise AssertionError("the event never ended")
