"""Checks of compare.html in headless Chromium: compare_page.py PROGRAM SOURCE_FOLDER WORK_FOLDER."""

import json
import sys

from checks import (ROOT, WORK, check, check_close, check_equal, check_loads, check_pages,
                    check_theme, frames, js, open_page, run, simulate)

NAME = '<script>window.hacked=1<'


def slices_of(out):
    events = json.loads((out / 'trace.json').read_text())['traceEvents']
    return [event for event in events if event['ph'] == 'X' and event['cat'] != 'idle']


def compare(name, a, b):
    out = WORK / name
    run('compare', a, b, '--out', out)
    return out, a, b


def check_timelines(driver, name, runs):
    traces = js(driver, '''return windtunnel.traces.map(
        trace => ({total: trace.total, end: trace.end, ranks: trace.ranks.length}))''')
    for trace, out in zip(traces, runs):
        report = json.loads((out / 'report.json').read_text())
        check_equal(f'{name}: number of spans', trace['total'], len(slices_of(out)))
        check_close(f'{name}: the end of the step', trace['end'] / 1e12, report['step_time_s'])
    views = 'return windtunnel.views.map(view => view.view())'
    longest = max(trace['end'] for trace in traces)
    for low, high in js(driver, views):
        check_close(f'{name}: one axis for both', high - low, longest, 1e-6)
    js(driver, 'document.getElementById("zoom-in").click()')
    frames(driver)
    js(driver, 'windtunnel.views[1].moveBy(0.2)')
    frames(driver)
    (low_a, high_a), (low_b, high_b) = js(driver, views)
    check_close(f'{name}: both zoom', high_a - low_a, longest / 2, 1e-6)
    check_close(f'{name}: and move together', low_a / longest, low_b / longest, 1e-9)
    check_close(f'{name}: to the same end', high_a / longest, high_b / longest, 1e-9)
    js(driver, 'document.getElementById("zoom-fit").click()')
    frames(driver)


def digits(text):
    return int(text.replace('.', '').replace('+', ''))


def check_causes(driver, name, out):
    written = json.loads((out / 'compare.json').read_text())
    check_equal(f'{name}: the data is compare.json',
                js(driver, 'return windtunnel.data.comparison'), written)
    bars = js(driver, '''return Array.from(document.querySelectorAll('#causes-chart rect'),
        bar => [bar.dataset.cause, Number(bar.dataset.ps)])''')
    total = written['step_time_ps']['difference']
    check_equal(f'{name}: the last bar is the whole', bars[-1], ['step_time', total])
    check_equal(f'{name}: the bars sum to it', sum(ps for _, ps in bars[:-1]), total)
    cells = js(driver, '''return Array.from(document.querySelectorAll('#causes-table tbody tr'),
        row => Array.from(row.cells, cell => cell.textContent))''')
    for column in range(1, len(cells[0])):
        numbers = [digits(row[column]) for row in cells]
        check_equal(f'{name}: column {column} of the table sums', sum(numbers[:-1]), numbers[-1])
    check_equal(f'{name}: the whole is in the last row', cells[-1][0].strip(), 'step time')


def check_page(driver, name, page):
    out, *runs = page
    path = out / 'compare.html'
    open_page(driver, path)
    frames(driver, 4)
    check_loads(driver, name, path)
    check_timelines(driver, name, runs)
    check_causes(driver, name, out)
    check_theme(driver, name)
    if name == 'hostile':
        check_equal('hostile: nothing of it runs', js(driver, 'return window.hacked'), None)
        check_equal('hostile: it makes no element', js(driver, 'return document.scripts.length'), 3)
        check('hostile: the name is shown', NAME in js(
            driver, 'return document.querySelector("h1").textContent'))
    check_loads(driver, f'{name}, after use', path)


def main():
    teaching = ROOT / 'workloads/zb-v-teaching.yaml'
    hostile = WORK / f'{NAME}.yaml'
    hostile.write_text(teaching.read_text().replace('models/', f'{ROOT}/workloads/models/')
                       .replace('../topologies', f'{ROOT}/topologies'))
    a, b = simulate(teaching, 'a'), simulate(ROOT / 'workloads/zb-h1-teaching.yaml', 'b')
    straggler = simulate(ROOT / 'workloads/gpt2-124m-straggler.yaml', 'straggler')
    # A measured run has the same files; it may know kinds of work that the page does not.
    measured = simulate(ROOT / 'workloads/gpt2-124m-straggler.yaml', 'measured')
    trace = measured / 'trace.json'
    trace.write_text(trace.read_text().replace('"cat":"forward"', '"cat":"data loading"'))
    pages = {
        'schedules': compare('schedules', a, b),
        'measured': compare('measured_page', straggler, measured),
        'hostile': compare('hostile', simulate(hostile, 'hostile_run'), b),
    }
    return check_pages(pages, check_page)


sys.exit(main())
