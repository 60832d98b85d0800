"""What the tests of pages share: is it well formed, does it load anything?"""

import re
from html.parser import HTMLParser

VOID = {"meta", "img", "br", "path", "use", "rect", "source"}


class Outline(HTMLParser):
    """Every start tag with its attributes; open tags must close in order."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.open.pop() == tag


def outline(text: str) -> Outline:
    """Of a page whose tags all close."""
    found = Outline()
    found.feed(text)
    assert found.open == []
    return found


def check_loads_nothing(page: str) -> None:
    """No script, no address, no handler; a policy that forbids them."""
    tags = outline(page).tags
    assert not {tag for tag, _ in tags} & {"script", "link", "iframe", "object", "embed", "base"}
    assert "http:" not in page and "https:" not in page and "@import" not in page
    for _, attributes in tags:
        for name in ("src", "href", "xlink:href", "srcset", "data"):
            assert (attributes.get(name) or "data:").startswith(("data:", "#"))
        assert not any(name.startswith("on") for name in attributes)
    assert all(target.startswith("#") for target in re.findall(r"url\(([^)]*)\)", page))
    policy = next(a["content"] for t, a in tags if a.get("http-equiv") == "Content-Security-Policy")
    assert policy is not None and policy.startswith("default-src 'none'")
