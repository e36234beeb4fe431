from __future__ import annotations

import asyncio

from controlplane.questions import MAX_OPEN, Questions
from shared.messages import Downward
from shared.plane_identity import PlaneIdentity
from shared.question_messages import ReceiptAnswer, ReceiptRequest
from shared.table import Stamp

PLANE = PlaneIdentity(id="p", slot=0, pid=1, version="x", started=0.0)
STAMP = Stamp(1, 1, 1)


def question(number: int) -> Downward:
    return ReceiptRequest(number, STAMP, "r")


def test_an_answer_reaches_the_one_who_asked() -> None:
    async def run() -> None:
        sent: list[tuple[str, Downward]] = []
        questions = Questions(lambda plane, message: sent.append((plane, message)))
        first = asyncio.create_task(questions.ask("p", question, 10.0))
        second = asyncio.create_task(questions.ask("q", question, 10.0))
        await asyncio.sleep(0)
        numbers = [message.request_id for _, message in sent if isinstance(message, ReceiptRequest)]
        assert [plane for plane, _ in sent] == ["p", "q"]
        answers = [ReceiptAnswer(PLANE, number, None) for number in numbers]
        for answer in reversed(answers):
            questions.take(answer.request_id, answer)
            questions.take(answer.request_id, answer)
        assert [await first, await second] == answers
        questions.take(numbers[0], answers[0])
        questions.take(99, answers[0])

    asyncio.run(run())


def test_no_answer_in_time_is_none() -> None:
    async def run() -> None:
        questions = Questions(lambda plane, message: None)
        assert await questions.ask("p", question, 0.0) is None
        assert not questions._awaited

    asyncio.run(run())


def test_it_is_bounded() -> None:
    async def run() -> None:
        questions = Questions(lambda plane, message: None)
        waiting = [asyncio.create_task(questions.ask("p", question, 60.0)) for _ in range(MAX_OPEN)]
        await asyncio.sleep(0)
        assert await questions.ask("p", question, 60.0) is None
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)

    asyncio.run(run())
