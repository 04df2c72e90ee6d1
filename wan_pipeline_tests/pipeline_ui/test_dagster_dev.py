"""`dagster dev`: a run terminated from the UI loses nothing, and the UI shows everything."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import Page, expect, sync_playwright

from wan_pipeline.defs.dead_runs import PID_TAG
from wan_pipeline.emulator.plan import EmulatorPlan, Fault, FaultKind
from wan_pipeline.ledger.ledger import Ledger
from wan_pipeline.ledger.states import PurchaseState
from wan_pipeline.prompts.plan_table import REQUESTS_FILE, request_ids
from wan_pipeline.settings import DataLayout
from wan_pipeline_tests.crash.audit import Ended, audit, provider
from wan_pipeline_tests.pipeline.site import ASSETS
from wan_pipeline_tests.pipeline_ui.dev_server import DevServer
from wan_pipeline_tests.waiting import wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Locator

    from wan_pipeline.ledger.records import Purchase

pytestmark = pytest.mark.slow

ENDS_WITHIN_S = 10.0
PATIENCE_S = 120.0
WAIT_MS = 60_000
WAN = Path(sys.executable).with_name("wan")
HANGS = "a create that is never answered"
PLAN = EmulatorPlan(speed_up=20, faults=(Fault(kind=FaultKind.HUNG_AFTER, prompt_contains=HANGS),))
SETS = {
    "built": ["a red fox asleep in fresh snow", "rice terraces after rain", "水墨画风格的山峦"],
    "many": [f"kite number {number}" for number in range(24)],
    "hanging": [*(f"lantern number {number}" for number in range(5)), HANGS, "a last lantern"],
    "killed": [f"paper boat number {number}" for number in range(8)],
}
CHROMIUM = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """A data folder, and the server that shows it."""

    layout: DataLayout
    env: dict[str, str]
    server: DevServer

    def wan_run(self, prompt_set: str) -> Ended:
        """Run `wan run` for one set to its end."""
        return wan_run(prompt_set, self.env)

    def purchases(self, prompt_set: str) -> dict[str, Purchase]:
        """What the ledger knows of a set, by prompt."""
        planned = self.layout.tables(prompt_set) / REQUESTS_FILE
        if not (planned.exists() and self.layout.ledger.exists()):
            return {}
        with Ledger(self.layout.ledger, self.layout.profile) as ledger:
            purchases = ledger.purchases(request_ids(planned))
        return {json.loads(each.request)["prompt"]: each for each in purchases.values()}

    def tasks(self, prompt_set: str) -> dict[str, str]:
        """What the provider accepted of a set: task ids by prompt."""
        with provider(self.layout.emulator_dir, PLAN) as http:
            tasks = http.get("/_emulator/tasks").raise_for_status().json()
        prompts = {task["content"]["prompt"]: task["id"] for task in tasks}
        return {prompt: prompts[prompt] for prompt in SETS[prompt_set] if prompt in prompts}


def wan_run(prompt_set: str, env: dict[str, str]) -> Ended:
    """Run `wan run` for one set to its end."""
    done = subprocess.run(
        [WAN, "run", prompt_set], env=env, capture_output=True, text=True, timeout=240, check=False
    )
    return Ended(exit_code=done.returncode, output=done.stdout)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A folder with a few prompt sets, the first of them built, under `dagster dev`."""
    folder = tmp_path_factory.mktemp("site")
    layout = DataLayout(folder / "data", "emulator")
    layout.prompts_dir.mkdir(parents=True)
    for name, prompts in SETS.items():
        lines = "".join(json.dumps({"prompt": prompt}) + "\n" for prompt in prompts)
        (layout.prompts_dir / f"{name}.jsonl").write_text(lines)
    PLAN.save(folder / "plan.json")
    env = {
        **os.environ,
        "WAN_DATA_DIR": str(layout.data_dir),
        "WAN_EMULATOR_PLAN": str(folder / "plan.json"),
        "WAN_EMULATOR_SPEED_UP": f"{PLAN.speed_up:g}",
    }
    built = wan_run("built", env)
    assert built.exit_code == 0, built.output
    planned = subprocess.run([WAN, "plan"], env=env, capture_output=True, timeout=120, check=False)
    assert planned.returncode == 0, planned.stderr
    with DevServer(home=layout.dagster_home, log=folder / "dev.log", env=env) as server:
        yield Site(layout=layout, env=env, server=server)


def launched(site: Site, prompt_set: str, *, when: int) -> str:
    """The run that builds a set, once so many of its creates are answered."""
    run_id = site.server.launch("build_dataset", prompt_set=prompt_set)
    wait_for(
        lambda: (
            sum(each.task_id is not None for each in site.purchases(prompt_set).values()) >= when
        ),
        what=f"{when} answered creates",
        within_s=PATIENCE_S,
        every_s=0.05,
    )
    return run_id


def terminated(site: Site, prompt_set: str, *, when: int) -> tuple[str, float]:
    """Build a set, terminate the run when so many creates are answered; its status and seconds."""
    run_id = launched(site, prompt_set, when=when)
    began = time.monotonic()
    site.server.terminate(run_id)
    status = site.server.await_end(run_id, patience_s=PATIENCE_S)
    return status, time.monotonic() - began


def test_terminate_mid_batch_loses_no_task(site: Site) -> None:
    """The run ends at once, every task is in the ledger, and `wan run` buys only the rest."""
    status, took_s = terminated(site, "many", when=8)
    assert status == "CANCELED"
    assert took_s <= ENDS_WITHIN_S
    purchases, tasks = site.purchases("many"), site.tasks("many")
    assert 8 <= len(tasks) < len(SETS["many"])
    assert {prompt: purchases[prompt].task_id for prompt in tasks} == tasks
    assert {each.state for each in purchases.values()}.isdisjoint({"intent", "unknown"})

    ended = site.wan_run("many")
    found = audit(site.layout, "many", plan=PLAN, ended=ended)
    assert found.violations == ()
    assert (ended.exit_code, found.stored, found.submitted) == (0, 24, 24)
    assert ended.counts()["submitted"] == str(24 - len(tasks))


def test_terminate_with_a_create_in_flight_leaves_it_unknown(site: Site) -> None:
    """A create that does not answer holds the end up no longer than its grace."""
    status, took_s = terminated(site, "hanging", when=5)
    assert status == "CANCELED"
    assert took_s <= ENDS_WITHIN_S
    purchases, tasks = site.purchases("hanging"), site.tasks("hanging")
    assert HANGS in tasks
    assert purchases[HANGS].state is PurchaseState.UNKNOWN
    assert purchases[HANGS].reserved_usd == purchases[HANGS].price_usd
    answered = {prompt: task for prompt, task in tasks.items() if prompt != HANGS}
    assert {prompt: purchases[prompt].task_id for prompt in answered} == answered

    ended = site.wan_run("hanging")
    found = audit(site.layout, "hanging", plan=PLAN, ended=ended)
    assert found.violations == ()
    assert (ended.exit_code, found.stored, found.unknown) == (3, 6, 1)
    assert found.bill_usd == found.ledger_usd + purchases[HANGS].price_usd


def test_wan_run_marks_the_uis_killed_run_and_completes_it(site: Site) -> None:
    """Else it would be shown as running for ever. The daemon tries once more and buys nothing."""
    run_id = launched(site, "killed", when=2)
    os.kill(int(site.server.tags(run_id)[PID_TAG]), signal.SIGKILL)
    ended = site.wan_run("killed")
    assert site.server.status(run_id) == "FAILURE"
    again = site.server.await_repeat(run_id, patience_s=PATIENCE_S)
    site.server.await_end(again, patience_s=PATIENCE_S)
    found = audit(site.layout, "killed", plan=PLAN, ended=ended)
    assert found.violations == ()


@pytest.fixture
def page(site: Site) -> Iterator[Page]:
    """A page of the system's Chromium, new to this site."""
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=list(CHROMIUM)
        )
        opened = chromium.new_page(viewport={"width": 1500, "height": 950})
        opened.set_default_timeout(WAIT_MS)
        yield opened
        chromium.close()


@pytest.mark.browser
def test_asset_graph_shows_all_assets(site: Site, page: Page, tmp_path: Path) -> None:
    """A box for each, no error, and no welcome pop-up or request for an address."""
    page.set_viewport_size({"width": 3000, "height": 900})  # else the boxes are drawn without text
    page.goto(f"{site.server.url}/locations/wan_pipeline/asset-groups/dataset/lineage")
    for asset in (*ASSETS, "spend", "release", "exports", "drift"):
        expect(page.get_by_text(asset, exact=True).first).to_be_visible(timeout=WAIT_MS)
    # At least once in each box of a partitioned asset; one that is partly built says it again.
    expect(page.get_by_text(f"{len(SETS)} partitions").nth(len(ASSETS) - 1)).to_be_visible(
        timeout=WAIT_MS
    )
    page.screenshot(path=tmp_path / "graph.png")
    expect(page.get_by_text("Join the Dagster newsletter")).to_have_count(0)
    expect(page.get_by_role("dialog")).to_have_count(0)


@pytest.mark.browser
def test_images_page_shows_description_and_contact_sheet(
    site: Site, page: Page, tmp_path: Path
) -> None:
    """A person reads what the asset does, what it cost, and sees its images."""
    page.goto(f"{site.server.url}/assets/images?view=overview")
    description = page.get_by_text("each bought once and stored as received")
    expect(description).to_be_visible(timeout=WAIT_MS)
    page.screenshot(path=tmp_path / "description.png")

    page.goto(f"{site.server.url}/assets/images?view=partitions&partition=built")
    expect(_row(page, "creates_sent")).to_contain_text("3", timeout=WAIT_MS)
    expect(_row(page, "cost_usd")).to_contain_text("0.09")
    page.screenshot(path=tmp_path / "metadata.png")
    _row(page, "contact_sheet").get_by_text("[Show Markdown]").click()
    sheet = page.get_by_role("dialog").locator("img")
    expect(sheet).to_have_count(len(SETS["built"]))
    assert sheet.evaluate_all("all => all.every(one => one.complete && one.naturalWidth > 50)")
    page.screenshot(path=tmp_path / "contact-sheet.png")


@pytest.mark.browser
def test_a_checks_link_opens_the_section_with_the_rows(
    site: Site, page: Page, tmp_path: Path
) -> None:
    """Clicked in the UI; from there on to the images, which are served as well."""
    published = site.server.launch("publish", prompt_set="built")
    assert site.server.await_end(published, patience_s=PATIENCE_S) == "SUCCESS"
    page.goto(f"{site.server.url}/assets/quality?view=checks&checkDetail=every_prompt_has_an_image")
    link = page.locator("a[href$='/quality/built.html#never_produced']").first
    expect(link).to_be_visible(timeout=WAIT_MS)
    page.screenshot(path=tmp_path / "check.png")
    with page.context.expect_page() as opened:
        link.click()
    quarantine = opened.value
    expect(quarantine.locator("section:target h2")).to_contain_text("Prompts without an image")
    expect(quarantine.locator("section:target")).to_be_in_viewport()
    quarantine.get_by_role("link", name="Gallery").click()
    pictures = quarantine.locator(".card img")
    expect(pictures).to_have_count(len(SETS["built"]))
    for picture in pictures.all():
        expect(picture).to_have_js_property("naturalWidth", 320)


@pytest.mark.browser
def test_automation_page_shows_everything_switched_off(
    site: Site, page: Page, tmp_path: Path
) -> None:
    """Nothing runs, let alone buys, before a person switches it on."""
    page.goto(f"{site.server.url}/automation")
    names = (
        "new_prompt_files",
        "follow_up",
        "daily_plan",
        "nightly_build",
        "hourly_recovery",
        "hourly_spend",
        "weekly_canary",
    )
    for name in names:
        expect(page.get_by_text(name, exact=True)).to_be_visible(timeout=WAIT_MS)
    # One box to select all, and per line one to select it and one that is its switch.
    boxes = page.locator("input[type=checkbox]")
    expect(boxes).to_have_count(1 + 2 * len(names), timeout=WAIT_MS)
    page.screenshot(path=tmp_path / "automation.png")
    assert not boxes.evaluate_all("all => all.some(one => one.checked)")


def _row(page: Page, key: str) -> Locator:
    """The line of a metadata table."""
    return page.locator("tr", has=page.get_by_text(key, exact=True)).first
