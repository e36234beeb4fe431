"""`[[workers]]`: workers with what is said of them, and what is wrong with them by line."""

from __future__ import annotations

import pytest

from shared.config_file import ConfigFile
from shared.config_sources import Gathered, gather
from shared.worker_attributes import ConfiguredWorker

FILE = """\
worker_urls = ["http://a:1", "http://b:1"]

[[workers]]
url = "http://A:1/"
weight = 2

[[workers]]
url = "http://c:1"
capacity = 8
[workers.labels]
zone = "a"
"""


def read(text: str, **flags: str) -> Gathered:
    return gather(flags, {}, ConfigFile("f", text))


def test_tables_describe_workers_and_name_new_ones() -> None:
    config = read(FILE).checked()
    assert config.worker_urls == ("http://a:1", "http://b:1", "http://c:1")
    assert config.workers == (
        ConfiguredWorker(url="http://A:1/", weight=2),
        ConfiguredWorker(url="http://c:1", capacity=8, labels={"zone": "a"}),
    )


def test_a_flag_gives_the_list_and_the_tables_what_is_said() -> None:
    config = read(FILE, worker_urls="http://c:1").checked()
    assert config.worker_urls == ("http://c:1",)
    assert len(config.workers) == 2


def test_tables_alone_are_enough() -> None:
    gathered = read('[[workers]]\nurl = "http://a:1"')
    assert gathered.checked().worker_urls == ("http://a:1",)
    assert str(gathered.places["worker_urls"]) == "f:1: workers (worker_urls)"


def test_variables_and_flags_do_not_give_tables() -> None:
    assert gather({}, {"ROUTERCTL_WORKERS": "http://a:1"}).checked().workers == ()


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("workers = 1", "f:1: workers is no list of tables; write [[workers]] and below it url = "),
        ('\nworkers = ["http://a"]', "f:2: workers is no list of tables"),
        ("[[workers]]\nweight = 1", "f:1: worker 1 has no url"),
        ('[[workers]]\nurl = "a"', "f:2: url of worker 1 has 'a': the scheme is missing"),
        ('[[workers]]\nurl = "http://u:p@a:1"', "f:2: url of worker 1 has a URL with user or password before 'a'"),
        ('[[workers]]\nurl = "http://a"\n\nweigth = 1', "f:4: unknown key 'weigth' of a worker; did you mean weight?"),
        ('[[workers]]\nurl = "http://a"\nq = 1', "f:3: unknown key 'q' of a worker; a worker has url, role, labels"),
        ('[[workers]]\nurl = "http://a"\nweight = "1"', "f:3: weight of worker 1 is '1'; write a number from 0"),
        ('[[workers]]\nurl = "http://a"\nrole = true', "f:3: role of worker 1 is true; leave it out"),
        ('[[workers]]\nurl = "http://a"\n[workers.labels]\na = 1', "f:3: labels of worker 1 has 'a' = 1"),
        (
            'workers = [\n{ url = "http://a"},\n{url = "http://b", priority = -1 },\n]',
            "f:3: priority of worker 2 is -1",
        ),
        ('[[workers]]\nurl="http://a"\n[[workers]]\nurl="http://a:80/"', "f:3: worker 2 is http://a:80/ again"),
    ],
)
def test_what_is_wrong_is_said_with_its_line(text: str, problem: str) -> None:
    (found,) = read(text).problems
    assert found.text.startswith(problem)
    assert found.text.startswith(f"f:{found.line}: ")


@pytest.mark.parametrize("wrong", [0, 1])
def test_a_url_that_comes_twice_is_said_beside_other_faults(wrong: int) -> None:
    tables = ['[[workers]]\nurl = "http://a"\n', '[[workers]]\nurl = "http://a/"\n']
    tables[wrong] += "priority = -1\nweight = -1\n"
    problems = [one.text for one in read("".join(tables)).problems]
    assert len(problems) == 3
    assert any("worker 2 is http://a/ again" in text for text in problems)


def test_a_wrong_url_that_comes_twice_is_not_repeated() -> None:
    assert not any("secret" in one.text for one in read(2 * '[[workers]]\nurl = "http://u:secret@a"\n').problems)
