"""The folder of templates: its index names every template, and no page of it points to nothing."""

import re

from tests.test_architecture import ROOT

TEMPLATES = ROOT / "deploy" / "templates"
PAGES = sorted(TEMPLATES.rglob("README.md"))


def test_the_index_has_one_line_for_each_template() -> None:
    index = (TEMPLATES / "README.md").read_text()
    folders = sorted(path.name for path in TEMPLATES.iterdir() if path.is_dir())
    assert sorted(re.findall(r"^\| \[`([\w-]+)/`\]", index, re.MULTILINE)) == folders


def test_every_link_and_path_of_the_pages_exists() -> None:
    for page in PAGES:
        links = re.findall(r"\]\(([^)#:]+)\)", page.read_text())
        paths = re.findall(r"`((?:tests|contracts|resources|docs|deploy|cli)/[\w./-]+)`", page.read_text())
        missing = [link for link in links if not (page.parent / link).exists()]
        missing += [path for path in paths if not (ROOT / path).exists()]
        assert missing == [], page
