"""Which row a person should label next, and with what proposal."""

from __future__ import annotations

from tests.trainers.checked import made_up_tickets
from trainers.data import Example
from trainers.labelling import propose


def rows(pairs: list[tuple[str, str]], first: int = 1) -> list[Example]:
    return [Example(row=n, input=text, output=label) for n, (text, label) in enumerate(pairs, start=first)]


def test_proposals_are_mostly_right_and_the_unsure_come_first() -> None:
    tickets = made_up_tickets(160)
    answered, asked = rows(tickets[:80]), rows(tickets[80:], first=81)
    odd = Example(row=999, input="completely different words", output="")
    proposals = propose(answered, [*asked, odd])
    assert proposals[0].example == odd
    truth = {example.row: example.output for example in asked}
    right = [proposal.answer == truth[proposal.example.row] for proposal in proposals[1:]]
    assert sum(right) / len(right) > 0.9
    assert all(0 < proposal.sure <= 1 for proposal in proposals)
    assert proposals[-1].sure > proposals[0].sure


def test_without_two_kinds_of_answers_rows_keep_their_order_and_nothing_is_proposed() -> None:
    asked = rows([("b", ""), ("a", "")])
    for answered in ([], rows([("x", "same"), ("y", "same")])):
        proposals = propose(answered, asked)
        assert [proposal.example for proposal in proposals] == asked
        assert {(proposal.answer, proposal.sure) for proposal in proposals} == {("", 0.0)}
    assert propose(rows(made_up_tickets(8)), []) == []


def test_the_same_rows_give_the_same_order() -> None:
    tickets = made_up_tickets(60)
    first = propose(rows(tickets[:30]), rows(tickets[30:]))
    assert first == propose(rows(tickets[:30]), rows(tickets[30:]))
