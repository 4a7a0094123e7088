"""Several projects of several people: what may be done with them, and what nobody else may see."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from assistant.pipeline import Pipeline
from assistant.project import LOCAL, DataSource, Project, Turn
from assistant.projects import DAYS_KEPT, Projects
from assistant.votes import Vote
from prompts.errors import RunError
from prompts.versions import PromptVersion
from tests.assistant.journey import open_pipeline, pretend_run
from tests.trainers.runs import write_tickets
from trainers.data import Mapping
from trainers.paths import Paths
from trainers.plan import DataPlan, TrainingPlan
from trainers.status import RunStatus

COLUMNS = Mapping(input="text", output="label")
DAY = 86_400


@pytest.fixture
def pipeline(paths: Paths) -> Pipeline:
    return open_pipeline(paths)[0]


@pytest.fixture
def projects(pipeline: Pipeline) -> Projects:
    return Projects(pipeline)


@pytest.fixture
def full(pipeline: Pipeline, projects: Projects, tmp_path: Path) -> Project:
    """Anna's project with something of everything."""
    project = projects.create("anna")
    file = pipeline.settings.paths.files / project.id / "tickets.csv"
    file.parent.mkdir(parents=True)
    write_tickets(tmp_path / "tickets.csv", rows=40).rename(file)
    data = DataSource(path=file, name="tickets.csv", columns=COLUMNS)
    prompt = PromptVersion(system="Name the team")
    pipeline.store.add_prompt(project.id, prompt)
    pipeline.store.add_turn(project.id, Turn(role="user", text="Where do parcels go?"))
    pipeline.store.add_vote(project.id, Vote(message="m", answers=()))
    plan = TrainingPlan(data=DataPlan(path=file, columns=COLUMNS), prompt=prompt)
    pipeline.edit_spec(project.id, {"description": "Route support tickets"})
    return pipeline.change(
        project.id, name="Tickets", data=data, prompt=prompt, plan=plan, stage="Compare", run_id="r", announced=("r",)
    )


# Opening.


def test_a_page_opens_with_what_was_had_last_or_with_a_new_project(projects: Projects) -> None:
    first = projects.begin("anna")
    assert projects.all("anna") == [first] and first.owner == "anna"
    second = projects.create("anna")
    assert projects.begin("anna") == second
    projects.open("anna", first.id)
    assert projects.begin("anna") == first
    assert projects.begin("anna", second.id) == second
    assert projects.begin("anna", "nonsense") == first


def test_a_page_never_opens_what_is_deleted_or_somebody_elses(projects: Projects) -> None:
    hers, his = projects.begin("anna"), projects.begin("ben")
    assert projects.begin("ben", hers.id) == his
    projects.delete("anna", hers.id)
    fresh = projects.begin("anna", hers.id)
    assert fresh.id not in (hers.id, his.id)


# Whose it is.


def test_a_stranger_can_do_nothing_and_learns_nothing(pipeline: Pipeline, projects: Projects, full: Project) -> None:
    acts = (
        lambda id: projects.require("ben", id),
        lambda id: projects.open("ben", id),
        lambda id: projects.rename("ben", id, "mine"),
        lambda id: projects.duplicate("ben", id),
        lambda id: projects.delete("ben", id),
    )
    for act in acts:
        told = []
        for id in (full.id, "nonsense"):
            with pytest.raises(RunError) as caught:
                act(id)
            told.append(str(caught.value))
        assert told[0] == told[1], "an answer of its own would tell that there is such a project"
    with pytest.raises(RunError):
        projects.refuse_strangers(LOCAL, full.id)
    projects.refuse_strangers("anna", full.id)
    assert pipeline.project(full.id) == full
    assert (projects.all("ben"), projects.deleted("ben"), projects.search("ben", "tickets")) == ([], [], [])


def test_a_stranger_cannot_bring_back_what_another_deleted(projects: Projects, full: Project) -> None:
    projects.delete("anna", full.id)
    with pytest.raises(RunError):
        projects.restore("ben", full.id)
    assert projects.restore("anna", full.id).name == "Tickets"


# Renaming.


def test_a_name_is_tidied_and_must_be_one(projects: Projects, full: Project) -> None:
    assert projects.rename("anna", full.id, "  Ticket \n routing ").name == "Ticket routing"
    for name in ("", " \n ", "x" * 81):
        with pytest.raises(RunError) as caught:
            projects.rename("anna", full.id, name)
        assert caught.value.hint
    assert [p.name for p in projects.all("anna")] == ["Ticket routing"]


def test_a_name_that_a_person_gave_is_not_changed_by_the_task(pipeline: Pipeline, projects: Projects) -> None:
    id = projects.create(LOCAL).id
    projects.rename(LOCAL, id, "Mine")
    assert pipeline.edit_spec(id, {"description": "Tell angry messages from others"}).name == "Mine"


# Duplicating.


def test_a_copy_has_everything_but_runs_and_votes(pipeline: Pipeline, projects: Projects, full: Project) -> None:
    copy = projects.duplicate("anna", full.id)
    assert (copy.name, copy.owner, copy.stage) == ("Tickets (copy)", "anna", "Strategy")
    assert (copy.spec, copy.prompt, copy.plan) == (full.spec, full.prompt, full.plan)
    assert (copy.run_id, copy.earlier_runs, copy.announced) == (None, (), ())
    assert pipeline.store.turns(copy.id) == pipeline.store.turns(full.id) != []
    assert pipeline.prompts(copy.id) == pipeline.prompts(full.id) != []
    assert pipeline.store.votes(copy.id) == []
    assert projects.begin("anna") == copy
    assert pipeline.project(full.id) == full


def test_a_copy_keeps_its_data_when_the_first_project_is_gone(pipeline: Pipeline, full: Project) -> None:
    projects = Projects(pipeline)
    copy = projects.duplicate("anna", full.id)
    _delete_long_ago(pipeline, full.id)
    assert projects.purge() == [full.id]
    assert full.data and copy.data
    assert not full.data.path.exists()
    assert len(pipeline.table(pipeline.project(copy.id))) == 40


# Deleting and bringing back.


def _delete_long_ago(pipeline: Pipeline, id: str, days: float = DAYS_KEPT + 1) -> None:
    pipeline.change(id, deleted=time.time() - days * DAY)


def test_a_deleted_project_is_away_and_comes_back_whole(pipeline: Pipeline, projects: Projects, full: Project) -> None:
    projects.delete("anna", full.id)
    assert projects.all("anna") == [] and [p.id for p in projects.deleted("anna")] == [full.id]
    assert projects.search("anna", "tickets") == []
    for act in (pipeline.project, lambda id: projects.rename("anna", id, "x"), lambda id: projects.open("anna", id)):
        with pytest.raises(RunError, match="does not exist any more"):
            act(full.id)
    assert projects.restore("anna", full.id) == full
    assert projects.begin("anna") == full and projects.deleted("anna") == []
    assert len(pipeline.store.turns(full.id)) == len(pipeline.store.votes(full.id)) == 1
    with pytest.raises(RunError, match="cannot be brought back"):
        projects.restore("anna", full.id)


def test_a_project_that_trains_is_not_deleted(pipeline: Pipeline, projects: Projects, full: Project) -> None:
    run = pretend_run(pipeline, full.id, RunStatus(state="running", phase="training"))
    with pytest.raises(RunError, match="being trained") as caught:
        projects.delete("anna", full.id)
    assert "Cancel" in caught.value.hint
    run.write_status(RunStatus(state="cancelled"))
    assert projects.delete("anna", full.id).deleted


def test_what_was_deleted_lately_is_kept(pipeline: Pipeline, projects: Projects, full: Project) -> None:
    _delete_long_ago(pipeline, full.id, DAYS_KEPT - 1)
    assert projects.purge() == []
    assert full.data and full.data.path.exists()
    assert projects.restore("anna", full.id) == full


# Searching.


@pytest.mark.parametrize(
    ("text", "excerpt"),
    [
        ("tick", ""),
        ("ROUTE support", "Route support tickets"),
        ("parcels", "Where do parcels go?"),
        ("tickets parcels", "Where do parcels go?"),
        ("über", "… " + "x" * 22 + " ÜBER alles " + "y" * 36 + " …"),
    ],
)
def test_search_looks_into_name_task_and_chat(
    pipeline: Pipeline, projects: Projects, full: Project, text: str, excerpt: str
) -> None:
    projects.create("anna")
    long = f"{'x' * 60} ÜBER alles {'y' * 90}"
    pipeline.store.add_turn(full.id, Turn(role="assistant", text=long))
    [found] = projects.search("anna", text)
    assert found.project.id == full.id
    assert found.excerpt == excerpt


def test_search_finds_only_what_holds_every_word(projects: Projects, full: Project) -> None:
    assert full.id
    for text in (
        "tickets nonsense",
        "role",
        "user",
        '"',
    ):  # the last three stand in what is stored, not in what is said
        assert projects.search("anna", text) == []
    assert len(projects.search("anna", "  ")) == 1
