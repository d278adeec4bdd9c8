"""The workflows on GitHub: valid, safe, for every package, and nothing but a developer's commands."""

from __future__ import annotations

import fnmatch
import itertools
import json
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from repository import Repository

import affected
import nightly
from monorepo import CORE, PYTHONS, packages, tomllib
from python_text import imports

ROOT = Path(__file__).resolve().parent.parent
WORKFLOWS = ROOT / ".github" / "workflows"
PROGRAMS = Path(sys.executable).parent

if not (PROGRAMS / "zizmor").exists():
    reason = "workflows are checked in the default environment, which has what checks them"
    pytest.skip(reason, allow_module_level=True)

import yaml  # noqa: E402 - not found where the above is not

NAMES = [one.name for one in packages()]
FILES = sorted(WORKFLOWS.glob("*.yml"))
FORMS = sorted((ROOT / ".github" / "ISSUE_TEMPLATE").glob("*.yml"))
ON_CHANGES = {"push": {"branches": ["main"]}, "pull_request": None, "merge_group": None}
EXPRESSION = re.compile(r"\$\{\{\s*(.*?)\s*\}\}")

each_workflow = pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)


class Step(NamedTuple):
    """A step that runs a script, with the values that its variables may have there."""

    where: str
    script: str
    variables: dict[str, list[str]]


def workflow(path: Path) -> dict[str, Any]:
    """What is in the file; its triggers are under ``on``, which YAML 1.1 takes for a truth value."""
    found: dict[Any, Any] = yaml.safe_load(path.read_text("utf-8"))
    found["on"] = found.pop(True)
    return found


def jobs(path: Path) -> Mapping[str, dict[str, Any]]:
    return workflow(path)["jobs"]


def job(file: str, name: str) -> dict[str, Any]:
    return jobs(WORKFLOWS / file)[name]


def steps() -> Iterator[Step]:
    for path in FILES:
        for name, one in jobs(path).items():
            matrix = one.get("strategy", {}).get("matrix", {})
            for step in one.get("steps", []):
                if "run" in step:
                    variables = {}
                    for variable, value in step.get("env", {}).items():
                        expression = EXPRESSION.fullmatch(str(value))
                        key = expression[1].removeprefix("matrix.") if expression else ""
                        values = matrix.get(key)
                        variables[variable] = values if isinstance(values, list) else []
                    yield Step(f"{path.name}: {name}", step["run"], variables)


def commands() -> Iterator[tuple[str, list[str]]]:
    """Every call of a tool of ours in a workflow, as words, once for each value of its variables."""
    for step in steps():
        for call in re.findall(r"python3 (tools/\w+\.py[^\n|)]*)", step.script):
            used = [
                name for name, values in step.variables.items() if f"${name}" in call and values
            ]
            for values in itertools.product(*(step.variables[name] for name in used)):
                filled = call
                for name, value in zip(used, values, strict=True):
                    filled = filled.replace(f"${name}", value)
                yield step.where, shlex.split(filled)


def bash(script: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run a step's script as GitHub would."""
    command = ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", script]
    return subprocess.run(command, cwd=ROOT, env=variables, capture_output=True, text=True)


def scripts(hatch: Mapping[str, Any], environment: str) -> set[str]:
    return set(hatch["envs"].get(environment, {}).get("scripts", {}))


@pytest.fixture(scope="module")
def tox_environments() -> list[str]:
    command = [sys.executable, "tools/dev.py", "tox:list", "--quiet", "--no-desc"]
    said = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True)
    return said.stdout.split()


# --- valid and safe ---


def test_every_workflow_is_valid() -> None:
    command = [PROGRAMS / "check-jsonschema", "--builtin-schema", "vendor.github-workflows"]
    done = subprocess.run([*command, *FILES], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("path", FORMS, ids=lambda path: path.stem)
def test_every_form_of_an_issue_is_valid(path: Path) -> None:
    schema = "github-issue-config" if path.stem == "config" else "github-issue-forms"
    command = [PROGRAMS / "check-jsonschema", "--builtin-schema", f"vendor.{schema}", path]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_bug_comes_with_the_runs_state_and_the_versions() -> None:
    form = yaml.safe_load((ROOT / ".github" / "ISSUE_TEMPLATE" / "bug.yml").read_text("utf-8"))
    asked = {one["id"]: one for one in form["body"] if one["type"] != "markdown"}
    assert "tracking.status()" in asked["status"]["attributes"]["description"]
    assert "tracking-core" in asked["versions"]["attributes"]["description"]
    for name in ("what", "status", "versions"):
        assert asked[name]["validations"]["required"], name


def test_what_templates_link_is_there() -> None:
    texts = [path.read_text("utf-8") for path in FORMS]
    texts.append((ROOT / ".github" / "pull_request_template.md").read_text("utf-8"))
    linked = re.findall(r"\]\(\.\./blob/main/([^)#]+)", "\n".join(texts))
    assert len(linked) >= 3
    assert [one for one in linked if not (ROOT / one).is_file()] == []


def test_nothing_in_them_is_known_to_be_unsafe() -> None:
    command = [PROGRAMS / "zizmor", "--offline", "--no-progress", "--persona", "auditor", WORKFLOWS]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_action_is_pinned_to_one_commit() -> None:
    pins: dict[str, set[str]] = {}
    for path in FILES:
        for used, comment in re.findall(r"uses: (\S+)(.*)", path.read_text("utf-8")):
            if used.startswith("$/"):
                assert (ROOT / used.removeprefix("$/")).is_file()
                continue
            action, _, commit = used.partition("@")
            assert re.fullmatch(r"[0-9a-f]{40}", commit), f"{path.name}: {used}"
            assert re.fullmatch(r" # v\d+\.\d+\.\d+", comment), (
                f"{path.name}: {used} is which version?"
            )
            pins.setdefault(action, set()).add(commit + comment)
    assert all(len(commits) == 1 for commits in pins.values()), pins


@each_workflow
def test_a_job_may_do_what_it_must_and_no_more(path: Path) -> None:
    assert workflow(path)["permissions"] == {}
    for name, one in jobs(path).items():
        if (path.stem, name) == ("release", "publish"):
            assert one["permissions"] == {"id-token": "write"}
        else:
            assert one["permissions"] in ({}, {"contents": "read"}), name


@each_workflow
def test_no_job_keeps_credentials_runs_for_ever_or_puts_outside_text_into_a_script(
    path: Path,
) -> None:
    for name, one in jobs(path).items():
        assert "uses" in one or one["timeout-minutes"] < 360, name
        for step in one.get("steps", []):
            assert "${{" not in step.get("run", ""), name
            if step.get("uses", "").startswith("actions/checkout@"):
                assert step["with"]["persist-credentials"] is False, name


def test_when_they_run() -> None:
    triggers = {path.stem: workflow(path)["on"] for path in FILES}
    for name in ("packages", "repository", "integration"):
        assert triggers.pop(name) == ON_CHANGES, name
    assert list(triggers.pop("package")) == ["workflow_call"]
    at = triggers.pop("nightly")
    assert set(at) == {"schedule", "workflow_dispatch"}
    (cron,) = at["schedule"]
    minute, hour, *every_day = cron["cron"].split()
    assert every_day == ["*", "*", "*"]
    assert f"{int(hour):02}:{minute} UTC" in (ROOT / "docs" / "contributing.md").read_text("utf-8")
    assert triggers == {"release": {"push": {"tags": ["tracking-*-v*"]}}}


def test_one_run_of_a_workflow_at_a_time_for_a_branch_or_tag() -> None:
    for path in FILES:
        # One that is called is within the run of its caller, and would wait for itself.
        called = path.stem == "package"
        group = workflow(path).get("concurrency", {}).get("group", "")
        assert ("github.ref" in group) is not called, path.name


# --- nothing but a developer's commands ---


def test_every_command_is_one_that_a_developer_has() -> None:
    hatch = tomllib.loads((ROOT / "hatch.toml").read_text("utf-8"))
    used = set()
    for where, (tool, *arguments) in commands():
        assert (ROOT / tool).is_file(), f"{where}: {tool}"
        if tool == "tools/dev.py":
            environment, _, script = arguments[0].rpartition(":")
            assert script in scripts(hatch, environment or "default"), f"{where}: {arguments}"
            used.add(arguments[0])
    assert {"test", "demo", "release", "nightly", "tox:wheelhouse", "tox:run", "tox:list"} <= used


def test_no_environment_is_named_by_hand_and_a_missing_python_fails() -> None:
    runs = [arguments for _, (_, *arguments) in commands() if arguments[0] == "tox:run"]
    assert len(runs) == 2
    for arguments in runs:
        assert arguments[1:] == ["--skip-missing-interpreters", "false", "-e", "$ENVIRONMENT"]


def test_the_integration_workflow_runs_what_tox_lists(
    tmp_path: Path, tox_environments: list[str]
) -> None:
    output = tmp_path / "output"
    (script,) = [step.script for step in steps() if "tox:list" in step.script]
    variables = {
        "PATH": f"{PROGRAMS}:/usr/bin:/bin",
        "HOME": str(tmp_path),
        "GITHUB_OUTPUT": str(output),
    }
    done = bash(script, **variables)
    assert done.returncode == 0, done.stderr
    name, _, value = output.read_text().partition("=")
    listed = json.loads(value)
    assert name == "environments"
    assert len(listed) > 10
    assert set(listed) <= set(tox_environments)
    assert {nightly.python_of(environment) for environment in listed} == set(PYTHONS)
    assert not any(environment.startswith(("pkg-", "lowest-")) for environment in listed)


def test_a_job_with_several_pythons_has_all() -> None:
    several = []
    for path in FILES:
        for one in jobs(path).values():
            for step in one.get("steps", []):
                versions = step.get("with", {}).get("python-version", "").split()
                if len(versions) > 1 and "${{" not in versions:
                    several.append(versions)
    assert len(several) == 2
    assert all(set(versions) == set(PYTHONS) for versions in several)


def test_the_nightly_workflow_has_a_job_for_each_part() -> None:
    parts = [arguments[1] for _, (_, *arguments) in commands() if arguments[0] == "nightly"]
    assert parts == list(nightly.PARTS)


# --- every package ---


@pytest.fixture(scope="module")
def copied(tmp_path_factory: pytest.TempPathFactory) -> Repository:
    copied = Repository(tmp_path_factory.mktemp("clone"))
    copied.git("tag", "start")
    return copied


@pytest.fixture
def clone(copied: Repository) -> Repository:
    """A repository with the files of this tree, as they are now."""
    copied.git("reset", "--quiet", "--hard", "start")
    return copied


def said(clone: Repository, *base: str) -> list[dict[str, Any]]:
    """What the first job of packages.yml hands to the others."""
    done = clone.tool("affected.py", *base)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("\n") == 1, "an output of a step is a line"
    found: list[dict[str, Any]] = json.loads(done.stdout)
    return found


def affected_by(clone: Repository, *changed: str) -> list[str]:
    """The packages that a commit that touches these files concerns."""
    for name in changed:
        with (clone.folder / name).open("a") as file:
            file.write("\n")
    clone.commit()
    return [one["name"] for one in said(clone, "HEAD~1") if one["affected"]]


def test_every_package_has_its_job_and_environments(
    clone: Repository, tox_environments: list[str]
) -> None:
    everything = said(clone)
    assert [one["name"] for one in everything] == NAMES
    assert sorted(NAMES) == sorted(
        path.parent.name for path in ROOT.glob("packages/*/pyproject.toml")
    )
    named = [environment["name"] for one in everything for environment in one["environments"]]
    assert sorted(named) == sorted(
        name for name in tox_environments if name.startswith(("pkg-", "lowest-"))
    )
    for one in everything:
        pythons = [environment["python"] for environment in one["environments"]]
        assert pythons == [*one["pythons"], one["pythons"][0]]


def test_a_change_of_a_tracker_concerns_that_tracker(clone: Repository) -> None:
    for name in NAMES:
        if name != CORE:
            assert affected_by(clone, f"packages/{name}/pyproject.toml") == [name]


def test_a_change_of_the_core_concerns_all(clone: Repository) -> None:
    assert affected_by(clone, f"packages/{CORE}/pyproject.toml") == NAMES


@pytest.mark.parametrize("path", affected.CONCERN_ALL)
def test_a_change_of_what_tests_them_concerns_all(clone: Repository, path: str) -> None:
    assert (ROOT / path).is_file()
    assert affected_by(clone, path) == NAMES


def test_what_those_import_concerns_all_too() -> None:
    reached: set[str] = set()
    left = [path for path in affected.CONCERN_ALL if path.endswith(".py")]
    while left:
        path = left.pop()
        reached.add(path)
        named = {f"tools/{one.top}.py" for one in imports(ROOT / path)}
        left += [one for one in named - reached if (ROOT / one).is_file()]
    assert reached <= set(affected.CONCERN_ALL)


def test_a_change_of_documents_concerns_none(clone: Repository) -> None:
    assert affected_by(clone, "README.md", "docs/README.md", "tests-integration/nine.py") == []


def test_a_file_that_moves_concerns_the_package_that_it_leaves(clone: Repository) -> None:
    notes = "packages/tracking-wandb/notes.txt"
    (clone.folder / notes).write_text("text\n" * 9)
    clone.commit()
    clone.git("mv", notes, "packages/tracking-aim/notes.txt")
    assert affected_by(clone) == ["tracking-aim", "tracking-wandb"]


def test_a_new_package_has_its_job_at_once(clone: Repository) -> None:
    folder = clone.folder / "packages" / "tracking-new"
    folder.mkdir()
    (folder / "pyproject.toml").write_text(
        '[project]\nname = "tracking-new"\nrequires-python = ">=3.12"\n'
    )
    assert affected_by(clone) == ["tracking-new"]
    (new,) = [one for one in said(clone) if one["name"] == "tracking-new"]
    assert new["environments"] == [
        {"name": "pkg-py312-new", "python": "3.12"},
        {"name": "pkg-py313-new", "python": "3.13"},
        {"name": "lowest-new", "python": "3.12"},
    ]


@pytest.mark.parametrize("base", ["", "0" * 40, "--help"], ids=["none", "zeros", "an option"])
def test_where_nothing_is_known_of_the_change_all_are_tested(
    base: str, capsys: pytest.CaptureFixture[str]
) -> None:
    changed = affected.changed_since(base)
    assert [one["name"] for one in affected.report(changed) if one["affected"]] == NAMES
    assert "every package is affected" in capsys.readouterr().err


def test_the_jobs_are_called_as_the_packages_are() -> None:
    calls = job("packages.yml", "packages")
    assert calls["name"] == "${{ matrix.package.name }}"
    assert calls["uses"].endswith("/package.yml")
    assert job("package.yml", "complete")["name"] == "complete"
    inputs = workflow(WORKFLOWS / "package.yml")["on"]["workflow_call"]["inputs"]
    assert set(calls["with"]) == set(inputs)
    for call in (calls, job("package.yml", "test")):
        assert call["strategy"]["fail-fast"] is False


def test_the_jobs_ask_for_nothing_that_is_not_said() -> None:
    (one, *_) = affected.report(None)
    text = (WORKFLOWS / "packages.yml").read_text("utf-8")
    assert set(re.findall(r"matrix\.package\.(\w+)", text)) <= set(one)
    text = (WORKFLOWS / "package.yml").read_text("utf-8")
    assert set(re.findall(r"matrix\.environment\.(\w+)", text)) <= set(one["environments"][0])


# --- releases ---


def test_every_package_is_released_by_its_own_tag(tmp_path: Path) -> None:
    (pattern,) = workflow(WORKFLOWS / "release.yml")["on"]["push"]["tags"]
    assert f"`{pattern}`" in (ROOT / "docs" / "contributing.md").read_text("utf-8")
    (script,) = [step.script for step in steps() if "package=" in step.script]
    for name in NAMES:
        tag = f"{name}-v1.2.3"
        assert fnmatch.fnmatch(tag, pattern)
        output = tmp_path / name
        done = bash(script, GITHUB_REF_NAME=tag, GITHUB_OUTPUT=str(output))
        assert done.returncode == 0, done.stderr
        assert output.read_text() == f"package={name}\n"


def test_the_upload_has_the_verified_files_and_nothing_else() -> None:
    publish = job("release.yml", "publish")
    assert publish["needs"] == "verify"
    assert publish["environment"] == "${{ needs.verify.outputs.package }}"
    used = [step["uses"].partition("@")[0] for step in publish["steps"]]
    assert used == ["actions/download-artifact", "pypa/gh-action-pypi-publish"]
    download, upload = publish["steps"]
    (kept,) = [
        one for one in job("release.yml", "verify")["steps"] if "upload" in one.get("uses", "")
    ]
    assert kept["with"]["name"] == download["with"]["name"]
    assert kept["with"]["path"] == download["with"]["path"] == upload["with"]["packages-dir"]
    assert set(upload["with"]) == {"packages-dir"}, "it is trusted, and needs no password"


# --- what can be required before a merge ---


@pytest.mark.parametrize("affected", ["true", "false"])
@pytest.mark.parametrize("result", ["success", "failure", "cancelled", "skipped"])
def test_a_package_is_complete_if_what_had_to_pass_has(affected: str, result: str) -> None:
    complete = job("package.yml", "complete")
    assert complete["if"] == "${{ always() }}"
    (step,) = complete["steps"]
    assert step["env"] == {"AFFECTED": "${{ inputs.affected }}", "TEST": "${{ needs.test.result }}"}
    done = bash(step["run"], AFFECTED=affected, TEST=result)
    fine = (affected, result) in {("true", "success"), ("false", "skipped")}
    assert (done.returncode == 0) is fine, done.stderr


@pytest.mark.parametrize("result", ["success", "failure", "cancelled", "skipped"])
@pytest.mark.parametrize("file", ["repository.yml", "integration.yml"])
def test_the_others_are_complete_if_all_has_passed(file: str, result: str) -> None:
    complete = job(file, "complete")
    assert complete["if"] == "${{ always() }}"
    assert (
        {*complete["needs"]}
        if isinstance(complete["needs"], list)
        else {complete["needs"]} == {name for name in jobs(WORKFLOWS / file) if name != "complete"}
    )
    (step,) = complete["steps"]
    assert step["env"] == {"RESULTS": "${{ join(needs.*.result, ' ') }}"}
    for results in ((result, "success"), ("success", result)):
        done = bash(step["run"], RESULTS=" ".join(results))
        assert (done.returncode == 0) is (result == "success"), done.stderr
