"""Reads a page as a program would."""

from html.parser import HTMLParser


class Reader(HTMLParser):
    """Every tag with its attributes, and all text outside of style and script."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(page)
        self.text = " ".join(" ".join(self.words).split())

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        if self.tags and self.tags[-1][0] not in ("style", "script"):
            self.words.append(data)

    def of(self, tag: str) -> list[dict[str, str | None]]:
        return [found for name, found in self.tags if name == tag]


CONTRASTS = """() => {
  const rgba = text => { const n = text.match(/[\\d.]+/g).map(Number);
    const f = text.startsWith('color(') ? 255 : 1; return [n[0] * f, n[1] * f, n[2] * f, n.length > 3 ? n[3] : 1]; };
  const light = c => c.slice(0, 3).map(v => v / 255).map(v => v <= .03928 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4)
    .reduce((sum, v, i) => sum + v * [.2126, .7152, .0722][i], 0);
  const found = [];
  for (const one of document.querySelectorAll('body *')) {
    const own = [...one.childNodes].some(node => node.nodeType === 3 && node.textContent.trim());
    if (!own || !one.checkVisibility() || one.closest('svg, .hidden, .skip')) continue;
    let below = one;
    while (below && rgba(getComputedStyle(below).backgroundColor)[3] === 0) below = below.parentElement;
    const ink = light(rgba(getComputedStyle(one).color)), ground = light(rgba(getComputedStyle(below).backgroundColor));
    found.push([(Math.max(ink, ground) + .05) / (Math.min(ink, ground) + .05), one.textContent.trim().slice(0, 30)]);
  }
  return found.sort((a, b) => a[0] - b[0]);
}"""
"""For a browser: (contrast, text) of all texts that can be seen, the weakest first."""
