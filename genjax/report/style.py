"""The style sheet of the page: one column with pictures of its width, in light and dark colours."""

STYLE = """
:root { color-scheme: light dark;
  --paper: #fbfaf7; --card: #ffffff; --ink: #23231f; --muted: #6f6d66; --rule: #e3e0d8;
  --accent: #1f5f99; --mark: #fdf1d0; }
@media (prefers-color-scheme: dark) { :root {
  --paper: #151618; --card: #1d1f22; --ink: #e4e2dc; --muted: #9b9a94; --rule: #34363a;
  --accent: #86b8e6; --mark: #3a331d; } }
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; text-size-adjust: 100%; }
body { margin: 0; background: var(--paper); color: var(--ink);
  font: 1rem/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "Liberation Sans", sans-serif; }
main { max-width: 62rem; margin: 0 auto; padding: 2.5rem 1.25rem 4rem; }
h1 { font-size: 1.9rem; line-height: 1.2; font-weight: 650; letter-spacing: -.015em;
  margin: 0 0 .5rem; overflow-wrap: anywhere; }
h2 { font-size: 1.2rem; font-weight: 650; margin: 3rem 0 1rem; padding-top: 1rem;
  border-top: 1px solid var(--rule); }
h3 { font-size: 1rem; font-weight: 600; margin: 1.75rem 0 .5rem; overflow-wrap: anywhere; }
p { max-width: 42rem; margin: 0; overflow-wrap: anywhere; }
.lede { font-size: 1.1rem; }
.lede + .note { margin-top: .25rem; }
.note { margin: .75rem 0 0; }
.note, figcaption { color: var(--muted); font-size: .875rem; }
figure { margin: 0; }
figcaption { margin-top: .35rem; overflow-wrap: anywhere; }
img { display: block; max-width: 100%; height: auto; border-radius: 4px; }
.motion { max-width: 24rem; margin-top: 1rem; }
.thumbs { display: grid; grid-template-columns: repeat(8, 1fr); gap: .75rem; }
.thumbs img, .pair img, .strip img, .motion img { width: 100%; }
.panels, .pair { display: grid; gap: 1rem 1.5rem;
  grid-template-columns: repeat(auto-fill, minmax(min(100%, 24rem), 1fr)); }
.panels figcaption { margin: 0 0 .15rem; color: var(--ink); font-weight: 500; }
.panels figcaption span { color: var(--muted); font-weight: 400; float: right; }
svg { display: block; width: 100%; height: auto; }
svg * { stroke-linejoin: round; stroke-linecap: butt; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-size: .9rem; font-variant-numeric: tabular-nums; }
th, td { text-align: left; vertical-align: top; padding: .35rem 1.25rem .35rem 0;
  border-bottom: 1px solid var(--rule); font-weight: 400; }
.numbers tbody th { overflow-wrap: anywhere; min-width: 7rem; }
.numbers td, .numbers thead th { text-align: right; white-space: nowrap; padding-right: 0;
  padding-left: 1.25rem; }
.numbers thead th, .group th { color: var(--muted); font-size: .8rem; }
.group th { padding-top: 1rem; }
.group ~ tr th { padding-left: .75rem; }
.settings th { color: var(--muted); white-space: normal; min-width: 9rem; }
.settings td { overflow-wrap: anywhere; min-width: 9rem; }
.marked th, .marked td { background: var(--mark); color: var(--ink); }
.marked th { box-shadow: inset 3px 0 var(--accent); padding-left: .6rem; }
pre { background: var(--card); border: 1px solid var(--rule); border-radius: 6px;
  padding: .8rem 1rem; font-size: .85rem; line-height: 1.5; margin: 0;
  white-space: pre-wrap; overflow-wrap: anywhere; }
code, pre { font-family: ui-monospace, "SF Mono", Menlo, Consolas, "Liberation Mono", monospace; }
details { margin-top: 1rem; }
summary { cursor: pointer; margin-bottom: .75rem; }
@media (prefers-reduced-motion: reduce) { .motion { display: none; } }
@media (max-width: 40rem) { main { padding-top: 1.5rem; } h1 { font-size: 1.55rem; }
  .thumbs { grid-template-columns: repeat(4, 1fr); }
  .numbers td, .numbers thead th { padding-left: .75rem; } }
"""
