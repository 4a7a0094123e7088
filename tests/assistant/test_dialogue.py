"""What is read out of a message, and what is said and offered in return."""

from __future__ import annotations

import ast
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from assistant.dialogue import interview, wording
from assistant.dialogue.mind import ACTS, Context, Reading
from assistant.dialogue.offline.mind import OfflineMind
from assistant.project import DataSource, Project
from prompts.spec import TaskSpec
from trainers.data import Mapping

MIND = OfflineMind()
NEW = TaskSpec()
CLASSIFIES = NEW.updated("said", task="classification", description="Route tickets to teams")
EXTRACTS = NEW.updated("said", task="extraction", description="Read invoices")
DEPARTMENTS = ("billing", "delivery", "technical")


def read(text: str, spec: TaskSpec) -> Reading:
    return MIND.read(text, Context(spec=spec))


# First messages that describe a task: the kind, and what else was said in so many words.
DESCRIPTIONS: list[tuple[str, str, dict[str, Any]]] = [
    (
        "Route support tickets to a team. Labels: billing, delivery, technical",
        "classification",
        {"labels": DEPARTMENTS},
    ),
    ("Route tickets to billing, delivery or technical", "classification", {"labels": DEPARTMENTS}),
    ("Route tickets to the right team: billing, delivery and technical.", "classification", {"labels": DEPARTMENTS}),
    (
        "Sort emails into billing, delivery, or technical so that nobody waits",
        "classification",
        {"labels": DEPARTMENTS},
    ),
    ("Classify reviews as positive or negative", "classification", {"labels": ("positive", "negative")}),
    (
        "Classify each mail as a bug, a feature request or praise",
        "classification",
        {"labels": ("bug", "feature request", "praise")},
    ),
    ("Sort mails into spam and ham", "classification", {"labels": ("spam", "ham")}),
    ("Tag posts as urgent or not urgent, please", "classification", {"labels": ("urgent", "not urgent")}),
    (
        'Detect the intent. The intents are "refund", "cancel order" and "in progress".',
        "classification",
        {"labels": ("refund", "cancel order", "in progress")},
    ),
    (
        "Classify mails.\nLabels:\n- billing\n- IT support\n- change of address",
        "classification",
        {"labels": ("billing", "IT support", "change of address")},
    ),
    ("Classify tickets to save time and money", "classification", {}),
    ("I want to train a model that classifies support tickets", "classification", {}),
    ("Start training now so that a model can categorize my mails", "classification", {}),
    ("Train the model to answer questions about our product", "question_answering", {}),
    ("An assistant that answers customer questions politely", "question_answering", {}),
    ("Extract name, date and total from invoices", "extraction", {"fields": ("name", "date", "total")}),
    ("Parse ads. Keys: product, price and currency", "extraction", {"fields": ("product", "price", "currency")}),
    (
        "Pull the order data out, with the fields order number and date",
        "extraction",
        {"fields": ("order number", "date")},
    ),
    ("Translate support tickets into German", "translation", {"language": "de"}),
    ("Translate our menus into German, French and Spanish", "translation", {"language": "de"}),
    ("Summarize a progress report", "summarization", {}),
    ("Generate a report from lab results", "generation", {}),
    ("Write polite replies to customer emails", "generation", {"tone": "polite"}),
    ("Rewrite my mails in a friendly tone", "rewriting", {"tone": "friendly"}),
    ("Turn questions into SQL for our database", "code", {}),
    ("A chatbot for our shop", "chat", {}),
    (
        "I want a model that tells whether a comment is toxic or harmless",
        "classification",
        {"labels": ("toxic", "harmless")},
    ),
    (
        "Classify as urgent or calm. I have 3,000 examples and 30 minutes on an RTX 3060, 12 GB, data must not leave",
        "classification",
        {
            "labels": ("urgent", "calm"),
            "examples": 3000,
            "time_budget_minutes": 30.0,
            "device": "cuda",
            "gpu_memory_gb": 12.0,
            "local_only": True,
        },
    ),
]

# Messages that state facts and nothing else.
FACTS: list[tuple[str, dict[str, Any]]] = [
    ("I have 3,000 rows", {"examples": 3000}),
    ("about 5k labelled examples", {"examples": 5000}),
    ("1.5k rows", {"examples": 1500}),
    ("10.000 tickets", {"examples": 10000}),
    ("2 million messages", {"examples": 2_000_000}),
    ("I get 300 tickets per day", {}),
    ("5 kinds of tickets", {}),
    ("in 30 minutes", {"time_budget_minutes": 30.0}),
    ("5 mins", {"time_budget_minutes": 5.0}),
    ("at most 1.5 hours", {"time_budget_minutes": 90.0}),
    ("2h", {"time_budget_minutes": 120.0}),
    ("half an hour", {"time_budget_minutes": 30.0}),
    ("an hour", {"time_budget_minutes": 60.0}),
    ("wait a minute", {}),
    ("24 hours of messages", {}),
    ("a GPU with 8GB", {"gpu_memory_gb": 8.0, "device": "cuda"}),
    ("24 GB GPU", {"gpu_memory_gb": 24.0, "device": "cuda"}),
    ("16 GB of RAM", {}),
    ("16 GB RAM and no GPU", {"device": "cpu"}),
    ("my file is 2 GB", {}),
    ("The data may not leave this machine", {"local_only": True}),
    ("local only", {"local_only": True}),
    ("it must run offline", {"local_only": True}),
    ("on our own server, no cloud", {"local_only": True}),
    ("the data may leave", {}),
    ("we have private customers", {}),
    ("labels: a, b, c, I have 5k rows", {"labels": ("a", "b", "c"), "examples": 5000}),
    ("labels: billing, returns, 3,000 rows", {"labels": ("billing", "returns"), "examples": 3000}),
    ("JSON with keys name, price and currency", {"fields": ("name", "price", "currency"), "output_format": "json"}),
]  # fmt: skip

# Messages that ask for something now, and what they state on the way.
COMMANDS: list[tuple[str, str, dict[str, Any]]] = [
    ("Start with the sample project", "sample", {}),
    ("load the sample", "sample", {}),
    ("demo", "sample", {}),
    ("measure it", "measure", {}),
    ("Please score the prompt on my rows", "measure", {}),
    ("add four examples", "few_shot", {}),
    ("use few-shot", "few_shot", {}),
    ("What do you advise if I have 30 minutes?", "recommend", {"time_budget_minutes": 30.0}),
    ("what should I do", "recommend", {}),
    ("train", "train", {}),
    ("ok, start training", "train", {}),
    ("let's train it", "train", {}),
    ("I want to start the training now", "train", {}),
    ("start training, I have 30 minutes", "train", {"time_budget_minutes": 30.0}),
    ("Yes, start training", "confirm", {}),
    ("yes please start", "confirm", {}),
    ("stop", "cancel", {}),
    ("please cancel the training", "cancel", {}),
    ("how far is it?", "status", {}),
    ("is it done", "status", {}),
    ("Could you please show me the report of the last training?", "report", {}),
    ("did it get better?", "report", {}),
    ("compare both", "compare", {}),
    ("What can I do?", "help", {}),
    ("look at the data", "profile", {}),
    ("why?", "why", {}),
    ("undo that", "back", {}),
    ("start over", "restart", {}),
    ("skip this question", "skip", {}),
    ("improve the prompt", "improve", {}),
    ("please find a better prompt", "improve", {}),
    ("what is wrong with my prompt?", "critique", {}),
    ("accept it", "accept", {}),
    ("yes, take the new version", "accept", {}),
    ("keep mine", "dismiss", {}),
    ("show me the versions", "versions", {}),
    ("compare the two versions", "versions", {}),
    ("restore version 0123456789ab", "restore", {}),
    ("go back to the version before", "restore", {}),
    ("measure both", "measure_both", {}),
    ("try the options", "try", {}),
    ("please test all the options for 15 minutes", "try", {}),
    ("probiere die Optionen aus", "try", {}),
    ("essaie les options", "try", {}),
    ("prueba las opciones", "try", {}),
    ("Yes, try the options", "confirm_try", {}),
    ("how are the trials going?", "trials", {}),
    ("what did the trials say?", "trials", {}),
    ("wie laufen die Versuche?", "trials", {}),
    ("où en sont les essais ?", "trials", {}),
    ("¿Cómo van las pruebas?", "trials", {}),
    ("stop the trials", "stop_trials", {}),
    ("stoppe die Versuche", "stop_trials", {}),
    ("arrête les essais", "stop_trials", {}),
    ("para las pruebas", "stop_trials", {}),
    ("go on with the trials", "resume_trials", {}),
    ("Go on with the trials for 10 more minutes", "resume_trials", {}),
    ("setze die Versuche fort", "resume_trials", {}),
    ("reprends les essais", "resume_trials", {}),
    ("continúa las pruebas", "resume_trials", {}),
    ("use the advised plan", "take_advised", {}),
    ("use this plan", "take_advised", {}),
    ("nimm den empfohlenen Plan", "take_advised", {}),
    ("utilise le plan conseillé", "take_advised", {}),
    ("usa el plan recomendado", "take_advised", {}),
    ("use prompt tuning", "choose", {}),
    ("train it with DoRA, rank 16", "choose", {}),
    ("try full tuning with gradual unfreezing", "choose", {}),
    ("learn from the preferences with DPO", "choose", {}),
    ("set the learning rate to 1e-4", "choose", {}),
    ("stop and keep what it has learned", "keep", {}),
    ("resume the training", "resume", {}),
    ("please continue", "resume", {}),
    ("What do the votes say?", "votes", {}),
    ("who is ahead?", "votes", {}),
    ("Train on the votes", "round", {}),
    ("please train it on my votes", "round", {}),
    ("next round", "round", {}),
    ("Yes, train on the votes", "confirm_round", {}),
    ("examine it again", "examine", {}),
    ("please evaluate the model again", "examine", {}),
    ("Prüfe das Modell nochmal", "examine", {}),
    ("is it biased?", "findings", {}),
    ("Did it forget anything?", "findings", {}),
    ("did the model overfit?", "findings", {}),
    ("Hat es etwas vergessen?", "findings", {}),
    ("what did it forget?", "findings", {}),
    ("export it as GGUF", "export", {}),
    ("Export the adapter", "export", {}),
    ("give me the gguf", "export", {}),
]

NOTHING = [
    "",
    "thanks",
    "yes",
    "no, not now",
    "Hi there, how are you doing today my friend?",
    "thanks, that looks great and I am happy with it",
    "What is an adapter and why would I need one here?",
    "do not start training yet",
    "my sample size is 300",
    "stop words should be removed",
]


@pytest.mark.parametrize(("text", "task", "said"), DESCRIPTIONS, ids=lambda value: str(value)[:40])
def test_a_description_becomes_facts_and_starts_nothing(text: str, task: str, said: dict[str, Any]) -> None:
    reading = read(text, NEW)
    assert {**reading.inferred, **reading.said}["task"] == task
    assert {name: value for name, value in reading.said.items() if name != "task"} == {**said, "description": text}
    assert reading.act is None
    assert reading.prompt is None
    assert "output_format" in reading.inferred


@pytest.mark.parametrize(("text", "said"), FACTS)
def test_facts_are_found_and_are_no_description(text: str, said: dict[str, Any]) -> None:
    reading = read(text, NEW)
    assert reading.said == said
    assert reading.act is None


@pytest.mark.parametrize("spec", [NEW, CLASSIFIES], ids=["new", "known"])
@pytest.mark.parametrize(("text", "act", "said"), COMMANDS)
def test_a_command_is_an_act_and_no_description(text: str, act: str, said: dict[str, Any], spec: TaskSpec) -> None:
    reading = read(text, spec)
    assert (reading.act, reading.said, reading.inferred) == (act, said, {})


def test_every_act_can_be_asked_for() -> None:
    assert {act for _, act, _ in COMMANDS} == set(ACTS)


@pytest.mark.parametrize("spec", [NEW, CLASSIFIES], ids=["new", "known"])
@pytest.mark.parametrize("text", NOTHING)
def test_small_talk_gives_nothing(text: str, spec: TaskSpec) -> None:
    assert not any(read(text, spec).model_dump().values())


@pytest.mark.parametrize(
    ("text", "prompt"),
    [
        ("prompt: Be brief.", "Be brief."),
        ("Use this prompt: Be\nvery brief.", "Be\nvery brief."),
        ("my prompt = start training and cancel", "start training and cancel"),
        ("Set the prompt to: Classify it, 3,000 rows", "Classify it, 3,000 rows"),
    ],
)
def test_a_prompt_is_taken_word_for_word_and_read_no_further(text: str, prompt: str) -> None:
    reading = read(text, NEW)
    assert (reading.prompt, reading.act, reading.said) == (prompt, None, {})


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("Please write the next rows for me", {}),
        ("the code is in the second column", {}),
        ("I will draft more tomorrow", {}),
        ("it is summarization", {"task": "summarization"}),
        ("Actually, extract name and date", {"task": "extraction", "fields": ("name", "date")}),
        ("labels: a or b", {"labels": ("a", "b")}),
    ],
)
def test_a_kind_once_said_is_changed_only_by_naming_another(text: str, said: dict[str, Any]) -> None:
    assert read(text, CLASSIFIES).said == said


def test_lists_are_labels_only_where_the_task_is_to_choose_one() -> None:
    assert "labels" not in read("labels: a, b", EXTRACTS).said
    assert read("the keys are a, b and c", EXTRACTS).said == {"fields": ("a", "b", "c")}
    assert read("labels: a, b", NEW).inferred == {"task": "classification", "output_format": "label"}


def test_a_second_description_does_not_replace_the_first() -> None:
    assert "description" not in read("I want a model that tells whether a comment is toxic", CLASSIFIES).said


def test_what_goes_in_is_inferred() -> None:
    assert read("Classify incoming support tickets by urgency", NEW).inferred["input"] == "incoming support ticket"


@pytest.mark.parametrize("pasted", ["turn a, b as c or d ", "labels: a b, ", "route ", ": ", "a", "extract x, y and "])
def test_a_pasted_file_is_read_in_a_moment(pasted: str) -> None:
    begun = time.process_time()
    read(pasted * (100_000 // len(pasted)), CLASSIFIES)
    assert time.process_time() - begun < 2


# Buttons: each must be understood as what stands on it.

BUTTONS: dict[str, str] = {
    "Start with the sample project": "sample",
    "What can you do?": "help",
    "Measure the prompt": "measure",
    "Measure both": "measure_both",
    "Improve the prompt": "improve",
    "Yes, accept it": "accept",
    "Keep mine": "dismiss",
    "What do you advise?": "recommend",
    "Add examples": "few_shot",
    "Start training": "train",
    "Yes, start training": "confirm",
    "Cancel training": "cancel",
    "Stop and keep": "keep",
    "Resume the training": "resume",
    "What do the votes say?": "votes",
    "Train on the votes": "round",
    "Yes, train on the votes": "confirm_round",
    "Try the options": "try",
    "Yes, try the options": "confirm_try",
    "How are the trials going?": "trials",
    "Stop the trials": "stop_trials",
    "Go on with the trials": "resume_trials",
    "Use the advised plan": "take_advised",
    "Compare side by side": "compare",
    "Examine it again": "examine",
    "Show the report": "report",
    "Classification": "classification",
    "Extraction": "extraction",
    "Summarization": "summarization",
    "Text generation": "generation",
    "Rewriting": "rewriting",
    "Answering questions": "question_answering",
    "Go back": "back",
    "Skip": "skip",
    "They are in my data": "skip",
    "Not now": "skip",
}
# What these set stands in the interview's own tests.
FACT_BUTTONS = {"I have none yet", "English", "German", "French", "Spanish"}


def offered() -> set[str]:
    """Every tuple of plain texts in the files that offer buttons, and every one that a panel gives to `note`."""
    root = Path(wording.__file__).parents[1]
    files = (
        root / "conversation.py",
        root / "acts.py",
        root / "prompt_acts.py",
        root / "train_acts.py",
        root / "vote_acts.py",
        root / "trial_acts.py",
        root / "recommending.py",
        root / "report_acts.py",
        Path(wording.__file__),
        Path(interview.__file__),
    )
    trees = [ast.parse(path.read_text("utf-8")) for path in files]
    panels = [ast.parse(path.read_text("utf-8")) for path in sorted((root / "ui").glob("*.py"))]
    notes = [
        call
        for tree in panels
        for call in ast.walk(tree)
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute) and call.func.attr == "note"
    ]
    return {text for tree in [*trees, *notes] for texts in text_tuples(tree) for text in texts}


def text_tuples(tree: ast.AST) -> Iterator[list[str]]:
    """Tuples of plain texts, named ones and further tuples among them: `(SAMPLE, "Skip")`, `(*options, "Skip")`."""
    named = (ast.Name, ast.Attribute, ast.Starred)
    for node in ast.walk(tree):
        if isinstance(node, ast.Tuple) and not any(isinstance(item, ast.Tuple) for item in node.elts):
            texts = [item.value for item in node.elts if isinstance(item, ast.Constant) and isinstance(item.value, str)]
            if len(texts) == sum(not isinstance(item, named) for item in node.elts) and all(texts):
                yield texts


def test_the_buttons_are_those_in_the_code() -> None:
    assert offered() == set(BUTTONS) | FACT_BUTTONS


@pytest.mark.parametrize("spec", [NEW, CLASSIFIES], ids=["new", "known"])
@pytest.mark.parametrize("button", BUTTONS)
def test_a_button_is_understood(button: str, spec: TaskSpec) -> None:
    reading = read(button, spec)
    assert (reading.act or reading.said["task"]) == BUTTONS[button]
    assert "description" not in reading.said


# Words.


def test_what_was_understood_says_who_said_it_and_what_it_was() -> None:
    before = NEW.updated("inferred", task="classification", labels=("a", "b"))
    after = before.updated("said", labels=("x", "y"), local_only=True, time_budget_minutes=30.0, description="Sort it")
    after = after.updated("inferred", examples=12)
    assert wording.understood(before, after).splitlines() == [
        "I noted:",
        "- **labels**: ~~a, b~~ → x, y, you said",
        "- **examples**: 12, I assume",
        "- **time for training**: 30 minutes, you said",
        "- **stays on this machine**: yes, you said",
    ]
    assert wording.understood(after, after) == ""


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "nothing"), ("", "nothing"), ((), "nothing"), (True, "yes"), (False, "no"), (0, "0"), (1.5, "1.5")],
)
def test_values_are_written_as_a_person_would(value: object, text: str) -> None:
    assert wording.value_of(value) == text


DATA = DataSource(path=Path("x.csv"), name="x.csv", columns=Mapping(input="a", output="b"))


@pytest.mark.parametrize(
    ("known", "question", "option"),
    [
        ({}, "What kind of task", "Classification"),
        ({"spec": CLASSIFIES}, "Which answers are allowed", "They are in my data"),
        ({"spec": CLASSIFIES, "skipped": ("labels",)}, "drop a table here", "Start with the sample project"),
        ({"spec": CLASSIFIES, "data": DATA}, "What next", "What do you advise?"),
        ({"spec": CLASSIFIES, "data": DATA, "run_id": "r"}, "What next", "Show the report"),
    ],
)
def test_the_next_step_follows_what_is_missing(known: dict[str, Any], question: str, option: str) -> None:
    asked, options = wording.next_step(Project(id="p", name="p", created=0, **known))
    assert question in asked
    assert option in options
