"""Checks of sweep.html in headless Chromium: sweep_page.py PROGRAM SOURCE_FOLDER WORK_FOLDER."""

import csv
import json
import sys

from checks import (ROOT, WORK, check, check_close, check_equal, check_loads, check_pages,
                    check_theme, frames, js, open_page, run)

SCRIPT = '<script>window.hacked=1</script>'


def sweep(name, job, *options):
    out = WORK / name
    run('sweep', job, '--out', out, *options)
    return out


def rows_of(out):
    with open(out / 'sweep.csv', newline='') as file:
        return list(csv.DictReader(file))


def check_numbers(driver, name, out):
    """What is drawn is what sweep.csv says."""
    rows = rows_of(out)
    points = js(driver, 'return windtunnel.data.points')
    check_equal(f'{name}: a point for each row', len(points), len(rows))
    columns = {'step_s': 'step_time_s', 'mfu': 'mfu', 'usd': 'usd_per_million_tokens'}
    for point, row in zip(points, rows):
        for key, column in columns.items():
            wanted = float(row[column]) if row[column] else None
            check_equal(f'{name}: {column}', point[key], wanted)
    cells = js(driver, '''return Array.from(document.querySelectorAll('#cases-table tbody tr'),
        row => Array.from(row.cells, cell => cell.textContent))''')
    check_equal(f'{name}: rows of the table', len(cells), len(rows))


def check_marks(driver, name):
    marks = js(driver, '''return Array.from(document.querySelectorAll('#metrics .mark'),
        mark => [mark.dataset.metric, Number(mark.dataset.point)])''')
    points = js(driver, 'return windtunnel.data.points')
    shown = js(driver, 'return windtunnel.metrics.map(metric => metric.key)')
    wanted = [[key, i] for key in shown if key != 'efficiency'
              for i, point in enumerate(points) if point[key] is not None]
    check_equal(f'{name}: a mark for each number', sorted(marks), sorted(wanted))
    check(f'{name}: there are marks', len(marks) > 0)
    overflow = js(driver, '''return Array.from(document.querySelectorAll('main svg'), svg =>
        svg.getBoundingClientRect()).filter(box => box.right > innerWidth).length''')
    check_equal(f'{name}: no chart is wider than the page', overflow, 0)


def check_scaling(driver, name):
    found = js(driver, '''const at = (root, selector) => Array.from(
            document.querySelectorAll('#scaling-charts ' + selector));
        return {hidden: document.getElementById('scaling').hidden,
                marks: at('', '.mark').length, ideal: at('', '.ideal').length,
                knees: at('', '.knee').length, cheapest: at('', '.cheapest').length}''')
    series = [one for one in js(driver, 'return windtunnel.data.series') if len(one['points']) > 1]
    if not js(driver, 'return windtunnel.data.varies_gpus'):
        check(f'{name}: without GPUs no scaling', found['hidden'])
        return
    points = sum(len(one['points']) for one in series)
    check_equal(f'{name}: scaling', found, {'hidden': False, 'marks': 2 * points, 'ideal': 2,
                                            'knees': 2 * len(series), 'cheapest': 2})
    # On two logarithmic axes the ideal is a straight line.
    for line in js(driver, """return Array.from(document.querySelectorAll('#scaling-charts path.ideal'),
            path => path.getAttribute('d').slice(1).split('L').map(
                point => point.split(',').map(Number)))"""):
        slopes = [(y2 - y1) / (x2 - x1) for (x1, y1), (x2, y2) in zip(line, line[1:])]
        for slope in slopes:
            check_close(f'{name}: the ideal is straight', slope, slopes[0], 1e-6)
    for one in series:
        points = js(driver, 'return windtunnel.data.points')
        first = points[one['points'][0]]
        for i in one['points']:
            factor = points[i]['per_s'] / first['per_s']
            check_close(f'{name}: speed-up', points[i]['speed_up'], factor)
            check_close(f'{name}: efficiency', points[i]['efficiency'],
                        factor * first['gpus'] / points[i]['gpus'])


def check_map(driver, name, has_map):
    hidden = js(driver, 'return document.getElementById("map").hidden')
    check_equal(f'{name}: a heat map for two variables', hidden, not has_map)
    if not has_map:
        return
    cells = 'return document.querySelectorAll("#map-chart g.cell").length'
    count = js(driver, 'return windtunnel.data.points.length')
    check_equal(f'{name}: a cell for each case', js(driver, cells), count)
    for metric in range(js(driver, 'return windtunnel.metrics.length')):
        js(driver, '''const select = document.getElementById('map-metric');
            select.value = arguments[0]; select.dispatchEvent(new Event('change'))''', metric)
        frames(driver)
        check_equal(f'{name}: a cell for each case, again', js(driver, cells), count)
        check(f'{name}: the best cell is framed', js(
            driver, 'return document.querySelectorAll("#map-chart .best").length') >= 1)


def check_page(driver, name, page):
    out, has_map = page
    open_page(driver, out / 'sweep.html')
    frames(driver, 4)
    check_loads(driver, name, out / 'sweep.html')
    check_numbers(driver, name, out)
    check_marks(driver, name)
    check_scaling(driver, name)
    check_map(driver, name, has_map)
    check_theme(driver, name)
    if name == 'hostile':
        check_equal('hostile: nothing of it runs', js(driver, 'return window.hacked'), None)
        check_equal('hostile: it makes no element', js(driver, 'return document.scripts.length'), 3)
        check('hostile: the value is shown', SCRIPT in js(
            driver, 'return document.getElementById("cases-table").textContent'))
        check('hostile: and why it failed', SCRIPT in js(
            driver, 'return document.getElementById("failures").textContent'))
    check_loads(driver, f'{name}, after use', out / 'sweep.html')


def main():
    zero = ROOT / 'workloads/llama2-7b-zero.yaml'
    fsdp = ROOT / 'workloads/llama3-70b-fsdp.yaml'
    pages = {
        'strong': (sweep('strong', fsdp, '--vary', 'gpus,parallel.data=64..256*2:64..256*2'),
                   False),
        'map': (sweep('map', zero, '--vary', 'parallel.zero_stage=1,2,3', '--vary',
                      'batch.global=64,128'), True),
        'hostile': (sweep('hostile', zero, '--vary', f'parallel.zero_stage=3,{SCRIPT},0'), False),
    }
    return check_pages(pages, check_page)


sys.exit(main())
