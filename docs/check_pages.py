"""Check built pages: links and pictures exist, and no page is wider than a screen.

Usage: ``python docs/check_pages.py docs/_build/html``. Widths are measured by headless Chromium at
1280 and 400 pixels; without it, only links and pictures are checked.
"""

import json
import shutil
import subprocess
import sys
import tempfile
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

WIDTHS = (1280, 400)
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
GENERATED = ("_modules", "_static", "_sources")
PAGES_AT_ONCE = 20

# Loads the pages one after the other in a frame of the width of a screen, and writes into the
# document by how many pixels the widest element of each is too wide.
PROBE = """<!doctype html><meta charset="utf-8"><body style="margin:0">
<iframe id="frame" style="width:WIDTHpx;height:900px;border:0"></iframe>
<pre id="result">pending</pre>
<script>
const pages = PAGES, found = {};
const frame = document.getElementById("frame");
function next(i) {
  if (i === pages.length) {
    document.getElementById("result").textContent = "RESULT" + JSON.stringify(found) + "END";
    return;
  }
  frame.onload = () => {
    const root = frame.contentDocument.documentElement;
    found[pages[i]] = root.scrollWidth - root.clientWidth;
    next(i + 1);
  };
  frame.src = pages[i];
}
next(0);
</script>"""


class References(HTMLParser):
    """Collect what a page refers to, and the anchors that it has."""

    def __init__(self):
        super().__init__()
        self.targets, self.anchors = set(), set()

    def handle_starttag(self, tag, attrs):
        """Take references and identifiers of one element."""
        values = dict(attrs)
        if anchor := values.get("id") or (tag == "a" and values.get("name")):
            self.anchors.add(anchor)
        if tag == "a" and values.get("href"):
            self.targets.add(values["href"])
        if tag in {"img", "script"} and values.get("src"):
            self.targets.add(values["src"])


def pages_of(folder):
    """Return the written pages, without those of source code."""
    found = (path for path in folder.rglob("*.html"))
    return sorted(p for p in found if p.relative_to(folder).parts[0] not in GENERATED)


def read(path):
    """Return the references and the anchors of a page."""
    parser = References()
    parser.feed(path.read_text(encoding="utf-8"))
    return parser


def broken_references(folder):
    """Yield one line for each reference within the pages whose file or anchor does not exist."""
    contents = {path: read(path) for path in folder.rglob("*.html")}
    for page in pages_of(folder):
        for target in sorted(contents[page].targets):
            parts = urlsplit(target)
            if parts.scheme or parts.netloc:
                continue
            file = (page.parent / unquote(parts.path)).resolve() if parts.path else page
            file = file / "index.html" if file.is_dir() else file
            name = page.relative_to(folder)
            if not file.exists():
                yield f"{name}: {target} does not exist"
            elif file in contents and unquote(parts.fragment) not in contents[file].anchors | {""}:
                yield f"{name}: {target} has no such place"


def measured(browser, folder, pages, width):
    """Return by how many pixels each page is wider than a screen of this width."""
    names = [page.relative_to(folder).as_posix() for page in pages]
    probe = folder / "_static" / f"probe-{width}.html"
    html = PROBE.replace("WIDTH", str(width))
    probe.write_text(html.replace("PAGES", json.dumps([f"../{name}" for name in names])))
    try:
        with tempfile.TemporaryDirectory() as profile:
            command = [
                *(browser, "--headless", "--no-sandbox", "--disable-gpu", "--dump-dom"),
                *("--allow-file-access-from-files", f"--user-data-dir={profile}"),
                *("--virtual-time-budget=60000", f"--window-size={max(WIDTHS)},1000"),
                probe.as_uri(),
            ]
            run = subprocess.run(command, capture_output=True, text=True, timeout=300, check=True)
    finally:
        probe.unlink()
    if "RESULT{" not in run.stdout:
        raise RuntimeError(f"{browser} did not measure the pages: {run.stderr[-500:]}")
    found = json.loads(run.stdout.split("RESULT", 1)[1].split("END", 1)[0])
    return {name.removeprefix("../"): excess for name, excess in found.items()}


def too_wide(browser, folder):
    """Yield one line for each page that is wider than a screen."""
    pages = pages_of(folder)
    for width in WIDTHS:
        for start in range(0, len(pages), PAGES_AT_ONCE):
            part = pages[start : start + PAGES_AT_ONCE]
            for name, excess in measured(browser, folder, part, width).items():
                if excess > 0:
                    yield f"{name}: {excess} pixels wider than a screen of {width}"


def main():
    """Print what is wrong, and return the exit status."""
    folder = Path(sys.argv[1]).resolve()
    pages = pages_of(folder)
    if not pages:
        print(f"There are no pages in {folder}. Run make docs first.")
        return 1
    problems = list(broken_references(folder))
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser:
        problems += too_wide(browser, folder)
    else:
        print("Widths are not checked: there is no chromium here.")
    print(*problems, sep="\n", end="\n" if problems else "")
    print(f"{len(pages)} pages, {len(problems)} problems.")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
