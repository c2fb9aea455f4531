"""What a study writes down is changed by one process at a time: no result and no use of the test part is lost."""

import json
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

from autossl.finish.one_test import count_test
from autossl.record.folder import Folder, change_json, read_json
from autossl.trials.context import Context

TIMES = 40


def test_changes_at_once_are_all_kept(tmp_path: Path) -> None:
    path = tmp_path / "counts.json"

    def change(writer: int) -> None:
        def how(known: Mapping[str, Any]) -> dict[str, Any]:
            return {"all": known.get("all", 0) + 1, str(writer): known.get(str(writer), 0) + 1}

        for _ in range(TIMES):
            change_json(path, how)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(change, range(4)))
    assert json.loads(path.read_text()) == {"all": 4 * TIMES, **{str(writer): TIMES for writer in range(4)}}
    assert [file.name for file in tmp_path.iterdir()] == ["counts.json"]


def test_uses_of_the_test_part_are_counted_beside_results(tmp_path: Path) -> None:
    context = Context(Folder(tmp_path), cast(Any, None), cast(Any, None), cast(Any, SimpleNamespace()))

    def use(_: int) -> None:
        for _ in range(TIMES):
            count_test(context)

    def work(_: int) -> None:
        for step in range(TIMES):
            context.remember(stage=f"step {step}")

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda job: job(0), [use, work, use, work]))
    assert read_json(tmp_path / "state.json") == {"tests": 2 * TIMES, "stage": f"step {TIMES - 1}"}
    count_test(context, "winner")
    count_test(context, "untrained")
    assert read_json(tmp_path / "state.json")["tests"] == 2 * TIMES + 1
    count_test(context, "winner")  # cut off, and done again
    found = read_json(tmp_path / "state.json")
    assert (found["tests"], found["testing"]) == (2 * TIMES + 2, ["winner", "untrained"])
