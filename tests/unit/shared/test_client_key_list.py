"""The file of clients' keys: what is written is read, and what is wrong is told without a hash."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.client_key_list import KeyEntry, _File, as_keys, file_text, list_fault, read_client_keys, read_entries
from shared.client_key_types import FORMS, wrong_types
from shared.client_keys import MAX_LIMITED, MAX_WEIGHT, ClientKey, tenant_weights
from shared.config import ConfigError
from shared.limits import MOST

HASH = "ab" * 32
NAMES = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_.@-]{0,62}", fullmatch=True)
TIMES = st.datetimes(datetime(2000, 1, 1), datetime(2999, 1, 1)).map(lambda t: t.replace(tzinfo=UTC, microsecond=0))
MODELS = st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Cs", "Z")), min_size=1, max_size=20).map(
    lambda text: text.replace("*", "x")
)
ENTRIES = st.builds(
    KeyEntry,
    name=NAMES,
    sha256=st.from_regex(r"[0-9a-f]{64}", fullmatch=True),
    created=st.none() | TIMES,
    expires=st.none() | TIMES,
    models=st.none() | st.lists(MODELS | MODELS.map(lambda text: text + "*"), min_size=1, max_size=3).map(tuple),
    tenant=st.just("") | NAMES,
    service_class=st.sampled_from(("", "interactive", "batch")),
    max_concurrent_requests=st.integers(0, MOST),
    requests_per_minute=st.integers(0, MOST),
    tokens_per_minute=st.integers(0, MOST),
    weight=st.integers(1, MAX_WEIGHT),
    may_choose_class=st.booleans(),
)


def fault(folder: Path, text: str) -> str:
    file = folder / "keys.toml"
    file.write_text(text)
    with pytest.raises(ConfigError) as raised:
        read_client_keys("--client-keys-file", file)
    assert HASH not in str(raised.value)
    assert str(file) in str(raised.value)
    return str(raised.value)


@given(st.lists(ENTRIES, max_size=4, unique_by=(lambda e: e.name, lambda e: e.sha256)))
@settings(max_examples=60, deadline=None)
def test_what_is_written_is_read(tmp_path_factory: pytest.TempPathFactory, entries: list[KeyEntry]) -> None:
    file = tmp_path_factory.mktemp("keys") / "keys.toml"
    file.write_text(file_text(entries), encoding="utf-8")
    assert read_entries("", file) == tuple(entries)


def test_a_key_as_the_table_has_it(tmp_path: Path) -> None:
    file = tmp_path / "keys.toml"
    file.write_text(
        f'[[keys]]\nname = "a"\nsha256 = "{HASH.upper()}"\nexpires = 1970-01-01T01:00:00+01:00\nmodels = ["m"]\n'
        'tenant = "t"\nclass = "batch"\nmax_concurrent_requests = 4\nrequests_per_minute = 600\n'
        "tokens_per_minute = 9000\nweight = 3\n"
    )
    (key,) = read_client_keys("", file)
    assert key == ClientKey(
        name="a",
        digest=bytes.fromhex(HASH),
        models=("m",),
        expires=0.0,
        tenant="t",
        service_class="batch",
        max_concurrent_requests=4,
        requests_per_minute=600,
        tokens_per_minute=9000,
        weight=3,
    )
    assert key.limits == (4, 600, 9000)


def test_an_empty_file_is_a_list_of_none(tmp_path: Path) -> None:
    file = tmp_path / "keys.toml"
    file.write_text(file_text(()))
    assert as_keys(read_entries("", file)) == ()


def test_a_byte_order_mark_is_no_part_of_the_list(tmp_path: Path) -> None:
    file = tmp_path / "keys.toml"
    file.write_bytes(b"\xef\xbb\xbf" + file_text([entry := KeyEntry(name="a", sha256=HASH)]).encode())
    assert read_entries("", file) == (entry,)


def test_wrong_files_are_told(tmp_path: Path) -> None:
    table = f'[[keys]]\nname = "a"\nsha256 = "{HASH}"\n'
    with pytest.raises(ConfigError, match="routerctl keys client create"):
        read_entries("", tmp_path / "none")
    assert "no TOML" in fault(tmp_path, "[[keys")
    assert "64 hex digits" in fault(tmp_path, '[[keys]]\nname = "a"\nsha256 = "the key itself"')
    assert "name 'a b'" in fault(tmp_path, table.replace('"a"', '"a b"'))
    assert "0 models" in fault(tmp_path, table + "models = []")
    assert "model 'a*b'" in fault(tmp_path, table + 'models = ["a*b"]')
    assert "twice" in fault(tmp_path, table + table.replace('"a"', '"b"'))
    assert "requests_per_minute -1; write a number up to" in fault(tmp_path, table + "requests_per_minute = -1")
    assert "tokens_per_minute 1000000001" in fault(tmp_path, table + "tokens_per_minute = 1000000001")
    assert "class 'bacth'; write interactive or batch" in fault(tmp_path, table + 'class = "bacth"')
    assert "weight 0; write 1 to 1000" in fault(tmp_path, table + "weight = 0")
    assert "different limits" in fault(tmp_path, table + table.replace(HASH, "cd" * 32) + "requests_per_minute = 1")
    three = "".join(table.replace(HASH, f"{number:064x}") for number in range(3))
    assert "3 keys are called a" in fault(tmp_path, three)


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ('weight = "3"', "4: weight of key 1 (a) is '3'; write a whole number without quotes"),
        ("weight = true", "4: weight of key 1 (a) is true; write a whole number without quotes"),
        (
            "max_concurrent_requests = 1.5",
            "4: max_concurrent_requests of key 1 (a) is 1.5; write a whole number without quotes, or 0 for no limit",
        ),
        (
            "expires = 2027-01-01T00:00:00",
            "4: expires of key 1 (a) is 2027-01-01T00:00:00, without a time zone; write a time with its zone and "
            "without quotes, such as 2027-11-21T12:00:00Z",
        ),
        (
            'expires = "2027-01-01"',
            "4: expires of key 1 (a) is '2027-01-01'; write a time with its zone and without quotes, such as "
            "2027-11-21T12:00:00Z",
        ),
        ('models = "m"', "4: models of key 1 (a) is 'm'; write names in quotes, such as [\"llama-3\"]"),
        ('may_choose_class = "yes"', "4: may_choose_class of key 1 (a) is 'yes'; write true or false, without quotes"),
        ("tenant = 7", "4: tenant of key 1 (a) is 7; write a text in quotes"),
        ('model = "m"', "4: unknown field 'model' of key 1 (a); did you mean models?"),
        ("\n[[keys]]\nname = 5", "6: name of key 2 is 5; write a text in quotes"),
        ('\n[[keys]]\nname = "b"', "5: key 2 (b) has no sha256; write 64 hex digits in quotes"),
        ("\n[key]", "5: unknown key 'key'; write a table [[keys]] for each key, and its fields below it"),
        ("weight = 0", "4: key 1 (a) has weight 0; write 1 to 1000"),
    ],
)
def test_what_is_of_a_wrong_type_is_told_with_its_line_and_what_to_write(tmp_path: Path, line: str, told: str) -> None:
    table = f'[[keys]]\nname = "a"\nsha256 = "{HASH}"\n'
    for text in (table + line, (table + line).replace("\n", "\r\n")):
        assert fault(tmp_path, text) == f"--client-keys-file {tmp_path / 'keys.toml'}:{told}"


def test_what_may_be_a_secret_is_told_neither_with_a_wrong_type(tmp_path: Path) -> None:
    told = fault(tmp_path, '[[keys]]\nname = "a"\nsha256 = ["sk-secret"]')
    assert told.endswith(":3: sha256 of key 1 (a) is no text; write 64 hex digits in quotes")
    assert fault(tmp_path, "keys = 3").endswith(
        ':1: keys is no list of tables; write [[keys]] and below it name = "NAME"'
    )
    assert ":1: key 1 has no name;" in fault(tmp_path, "keys = [{weight = 1}]")


VALUES: st.SearchStrategy[object] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.datetimes() | TIMES | st.dates(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=4,
)


@given(st.lists(st.dictionaries(st.sampled_from([*FORMS, "other"]), VALUES, max_size=4), max_size=2) | VALUES)
@settings(max_examples=150, deadline=None)
def test_what_has_no_wrong_type_makes_keys(tables: object) -> None:
    content = {"keys": tables}
    for _, told in wrong_types(content):
        assert "; " in told
        return
    msgspec.convert(content, type=_File)


def test_each_field_has_its_form() -> None:
    assert {field.encode_name for field in msgspec.structs.fields(KeyEntry)} == set(FORMS)


def test_so_many_keys_may_have_limits_and_two_of_one_name_count_once() -> None:
    keys = [KeyEntry(name=f"k{number}", sha256=f"{number:064x}", tokens_per_minute=1) for number in range(MAX_LIMITED)]
    again = KeyEntry(name="k0", sha256="f" * 64, tokens_per_minute=1)
    assert list_fault((*keys, again, KeyEntry(name="free", sha256="e" * 64))) is None
    assert "1025 keys have limits" in str(list_fault((*keys, KeyEntry(name="b", sha256="f" * 64, tokens_per_minute=1))))


def test_a_tenant_has_the_largest_weight_of_its_keys() -> None:
    keys = [ClientKey(name=f"k{number}", digest=b"", tenant="t", weight=number) for number in (1, 5, 2)]
    alone = ClientKey(name="alone", digest=b"", weight=9)
    assert tenant_weights([*keys, alone, ClientKey(name="plain", digest=b"")]) == {"t": 5, "alone": 9}
