"""Plots as SVG without any library: bars by group for a comparison, lines over logarithmic axes for a growth."""
import math
from html import escape

COLOURS = ["#8a8f98", "#1769aa", "#c2571a", "#3f8f46", "#8e44ad", "#b08900", "#17a2a2", "#d4569a", "#5b4b3a"]
STYLE = ('<style>text{font:12px sans-serif;fill:#333}.title{font-size:15px;font-weight:bold}.small{font-size:11px}'
         '.axis{stroke:#bbb;stroke-width:1}.goal{stroke:#c0392b;stroke-dasharray:4 3}</style>')


def svg(width, height, parts):
    return (f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}">'
            f'{STYLE}<rect width="100%" height="100%" fill="#fff"/>{"".join(parts)}</svg>\n')


def text(x, y, what, anchor="start", kind=""):
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" class="{kind}">{escape(str(what))}</text>'


def line(x1, y1, x2, y2, kind="axis"):
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" class="{kind}"/>'


def bars(title, groups, goals, series):
    """groups: {group: {name: ratio or None}}, drawn over a logarithmic axis from 0.5; goals: {group: ratio}."""
    left, right, top, row = 190, 60, 46, 15
    wide = 560
    most = max(value for values in groups.values() for value in values.values() if value is not None)
    low, high = math.log(0.5), math.log(max(most * 1.1, 2))
    x = lambda value: left + wide * (math.log(max(value, 0.5)) - low) / (high - low)
    parts, y = [text(14, 24, title, kind="title")], top
    for group, values in groups.items():
        begin = y
        parts.append(text(14, y + row, group))
        for name, value in values.items():
            colour = COLOURS[series.index(name) % len(COLOURS)]
            parts.append(text(left - 8, y + row - 3, name, "end", "small"))
            if value is None:
                parts.append(text(left + 4, y + row - 3, "–", kind="small"))
            else:
                parts.append(f'<rect x="{left}" y="{y + 2}" width="{x(value) - left:.1f}" height="{row - 4}" fill="{colour}"/>')
                parts.append(text(x(value) + 4, y + row - 3, f"{value:.2f}", kind="small"))
            y += row
        if group in goals:
            parts.append(line(x(goals[group]), begin, x(goals[group]), y, "goal"))
        y += 10
    ticks = [tick for tick in (0.5, 1, 2, 5, 10, 20, 50, 100, 200) if tick <= most * 1.1]
    for tick in ticks:
        # Below the bars.
        parts[:0] = [line(x(tick), top - 4, x(tick), y), text(x(tick), y + 14, f"{tick:g}", "middle", "small")]
    legend = "CPU time a query, in times the floor of the case (logarithmic; dashed: the goal); less is better"
    parts.append(text(left, y + 32, legend, kind="small"))
    return svg(left + wide + right, y + 44, parts)


def lines(title, series, across, up):
    """series: {name: [(size, value)]}, both axes logarithmic."""
    left, top, wide, high = 70, 46, 560, 320
    sizes = [size for points in series.values() for size, _ in points]
    values = [value for points in series.values() for _, value in points]
    span = lambda numbers: (math.floor(math.log10(min(numbers))), max(math.ceil(math.log10(max(numbers))), 1))
    (x0, x1), (y0, y1) = span(sizes), span(values)
    x = lambda size: left + wide * (math.log10(size) - x0) / max(x1 - x0, 1)
    y = lambda value: top + high - high * (math.log10(value) - y0) / max(y1 - y0, 1)
    parts = [text(14, 24, title, kind="title")]
    for power in range(x0, x1 + 1):
        at = x(10**power)
        parts += [line(at, top, at, top + high), text(at, top + high + 16, f"10^{power}", "middle", "small")]
    for power in range(y0, y1 + 1):
        at = y(10**power)
        parts += [line(left, at, left + wide, at), text(left - 6, at + 4, f"{10**power:g}", "end", "small")]
    for at, (name, points) in enumerate(series.items()):
        colour = COLOURS[(at + 1) % len(COLOURS)]
        path = " ".join(f"{x(size):.1f},{y(value):.1f}" for size, value in points)
        parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        parts += [f'<circle cx="{x(size):.1f}" cy="{y(value):.1f}" r="3" fill="{colour}"/>' for size, value in points]
        parts.append(f'<rect x="{left + wide + 16}" y="{top + 20 * at}" width="12" height="12" fill="{colour}"/>')
        parts.append(text(left + wide + 34, top + 20 * at + 11, name, kind="small"))
    parts += [text(left + wide / 2, top + high + 36, across, "middle", "small"), text(14, 40, up, kind="small")]
    return svg(left + wide + 290, top + high + 48, parts)
