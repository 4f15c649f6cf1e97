from pathlib import Path

import pytest

from deploy.jars.__main__ import main
from deploy.jars.java import JavaMissingError, find_java, java_version
from deploy.jars.retrieve import (
    SUMS_NAME,
    JarDownloadError,
    JarMismatchError,
    differences,
    ensure_jars,
    present_sums,
    read_sums,
)
from tests.kafka_server import JARS

OUT = 'for last; do case "$last" in */out/*) out=${last%%/out/*}/out;; esac; done; mkdir -p "$out"; '
"""Shell: into ``$out`` goes what Ivy would be told to fetch."""


def program(path: Path, script: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return path


def test_the_checked_in_list_covers_both_folders() -> None:
    names = read_sums()
    assert {name.split("/")[0] for name in names} == {"spark", "broker"}
    assert all(len(digest) == 64 for digest in names.values())
    assert "spark/spark-hadoop-cloud_2.13-4.1.1.jar" in names
    assert not [name for name in names if "bundle-" in name]  # the whole SDK would be 600 MB


def test_each_kind_of_difference_is_named(tmp_path: Path) -> None:
    (tmp_path / "spark").mkdir()
    (tmp_path / "spark" / "changed.jar").write_bytes(b"other bytes")
    (tmp_path / "spark" / "unknown.jar").write_bytes(b"")
    wanted = {"spark/changed.jar": "0" * 64, "spark/gone.jar": "1" * 64}
    assert list(differences(wanted, present_sums(tmp_path))) == [
        "spark/changed.jar has SHA-256 a3ead5eedad5… instead of 000000000000…",
        "spark/gone.jar is missing",
        "spark/unknown.jar is not in SHA256SUMS",
    ]


def test_a_jar_with_other_bytes_is_not_installed(tmp_path: Path) -> None:
    liar = program(
        tmp_path / "java",
        f'{OUT} mkdir "$out/spark"; echo evil > "$out/spark/hadoop-aws-3.4.2.jar"',
    )
    before = tmp_path / "state" / "jars" / "spark" / "kept.jar"
    before.parent.mkdir(parents=True)
    before.write_bytes(b"old")
    with pytest.raises(JarMismatchError, match=r"spark/hadoop-aws-3.4.2.jar|is missing"):
        ensure_jars(tmp_path / "state" / "jars", liar)
    assert before.read_bytes() == b"old"
    assert [path.name for path in (tmp_path / "state").iterdir()] == ["jars"]


def test_an_image_gets_one_folder_of_them_and_fetches_it_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = tmp_path / "asked"
    says = """if [ "$1" = -version ]; then echo 'openjdk version "17"' >&2; exit; fi"""
    deliver = f'{says}; echo "$@" >> {asked}; {OUT} cp -rs {JARS / "spark"} "$out"'
    monkeypatch.setenv("PATH", f"{program(tmp_path / 'bin' / 'java', deliver).parent}:/usr/bin:/bin")
    for _ in range(2):
        assert main(["--into", str(tmp_path / "jars"), "--only", "spark"]) == 0
    (command,) = asked.read_text().splitlines()
    assert command.endswith(" -confs spark")
    wanted = {name: digest for name, digest in read_sums().items() if name.startswith("spark/")}
    assert present_sums(tmp_path / "jars") == wanted


def test_what_only_tests_need_has_a_list_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    listed = Path(__file__).parent.parent / "jars"
    assert {name.split("/")[0] for name in read_sums(listed / SUMS_NAME)} == {"delta"}
    says = """if [ "$1" = -version ]; then echo 'openjdk version "17"' >&2; exit; fi"""
    liar = program(tmp_path / "bin" / "java", f'{says}; {OUT} mkdir "$out/delta"; echo evil > "$out/delta/x.jar"')
    monkeypatch.setenv("PATH", f"{liar.parent}:/usr/bin:/bin")
    with pytest.raises(JarMismatchError, match=r"delta/delta-spark_\S+ is missing"):
        main(["--list", str(listed), "--into", str(tmp_path / "jars")])
    assert not (tmp_path / "jars").exists()


def test_a_folder_that_was_not_asked_for_is_not_missed(tmp_path: Path) -> None:
    empty = program(tmp_path / "java", OUT)
    with pytest.raises(JarMismatchError) as refused:
        ensure_jars(tmp_path / "jars", empty, only="broker")
    assert "broker/" in str(refused.value)
    assert "spark/" not in str(refused.value)
    with pytest.raises(SystemExit):
        main(["--into", str(tmp_path / "jars"), "--only", "everything"])
    assert not (tmp_path / "jars").exists()


def test_no_network_is_said(tmp_path: Path) -> None:
    offline = program(tmp_path / "java", "echo 'module not found: x UNRESOLVED DEPENDENCIES'; exit 1")
    with pytest.raises(JarDownloadError, match=r"UNRESOLVED.*--mirror"):
        ensure_jars(tmp_path / "jars", offline, mirror="https://mirror.example")


def test_a_missing_java_is_said(tmp_path: Path) -> None:
    with pytest.raises(JavaMissingError, match=r"Java 17 .* no 'java' on the PATH: install one"):
        find_java(search_path=str(tmp_path))
    with pytest.raises(JavaMissingError, match="JAVA_HOME"):
        find_java(java_home=str(tmp_path))


@pytest.mark.parametrize(
    ("stated", "version"),
    [
        ('openjdk version "17.0.15" 2025-04-15', 17),
        ('java version "1.8.0_401"', 8),
        ('openjdk version "21" 2023-09-19', 21),
    ],
)
def test_the_java_version_is_read(tmp_path: Path, stated: str, version: int) -> None:
    assert java_version(program(tmp_path / "bin" / "java", f"echo '{stated}' >&2")) == version


def test_an_old_java_is_refused(tmp_path: Path) -> None:
    program(tmp_path / "bin" / "java", """echo 'java version "1.8.0_401"' >&2""")
    with pytest.raises(JavaMissingError, match="is 8"):
        find_java(java_home=str(tmp_path))
