"""Checks of report.html in headless Chromium: report_page.py PROGRAM SOURCE_FOLDER WORK_FOLDER."""

import json
import re
import sys
import time

from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.keys import Keys

from checks import (HOSTILE, ROOT, WORK, check, check_close, check_equal, check_loads, check_pages,
                    frames, js, open_page, simulate)

# Frames of a page with 100,000 spans may take this many times as long as those of an empty page,
# on a machine without a graphics card that does other things at the same time.
MOST_TIMES_AS_SLOW = 5

# ---- pages --------------------------------------------------------------------------------------

def hostile_page():
    folder = WORK / 'hostile <b>&amp; "names"'
    folder.mkdir()
    text = (ROOT / 'workloads/models/synthetic-8.yaml').read_text()
    quoted = json.dumps(HOSTILE, ensure_ascii=False)
    text = re.sub(r'(?m)^name:.*$', lambda _: f'name: {quoted}', text)
    text = re.sub(r'(?ms)^source:.*?(?=^\S)', lambda _: f'source: {quoted}\n', text)
    (folder / 'model.yaml').write_text(text)
    job = (ROOT / 'workloads/zb-v-teaching.yaml').read_text()
    job = job.replace('models/synthetic-8.yaml', 'model.yaml')
    job = job.replace('../topologies', str(ROOT / 'topologies'))
    path = folder / '<img src=x onerror=alert(1)> "é".yaml'
    path.write_text(job)
    return simulate(path, 'hostile out')


# ---- numbers as the page writes them ------------------------------------------------------------


def scaled(value, prefixes, base, unit):
    while abs(value) >= 999.95 and base + 1 < len(prefixes):
        value, base = value / 1000, base + 1
    while value != 0 and abs(value) < 0.99995 and base > 0:
        value, base = value * 1000, base - 1
    return f'{value:.4g} {prefixes[base]}{unit}'


def time_text(seconds):
    return scaled(seconds, ['n', 'µ', 'm', ''], 3, 's')


def exact_text(ps):
    factor, unit = (1e-12, 's') if ps >= 999.9999995e9 else \
        (1e-9, 'ms') if ps >= 999.9999995e6 else (1e-6, 'µs')
    return f"{ps * factor:.6f}".rstrip('0').rstrip('.') + ' ' + unit


def bytes_text(value):
    return scaled(value, ['', 'k', 'M', 'G', 'T', 'P'], 0, 'B')


# ---- checks -------------------------------------------------------------------------------------


def check_standing(driver, name, report):
    """The interval stands under the step time, and why a job is outside under the verdict."""
    lines = js(driver, '''return Object.fromEntries(Array.from(document.querySelectorAll('.card'),
        card => [card.dataset.name, Array.from(card.querySelectorAll('.value, .more'),
            line => line.textContent)]))''')
    interval, calibration = report['interval'], report['calibration']
    wanted = f"interval: none, {interval['of']}" if interval['runs'] == 0 else \
        f"{time_text(interval['p10_s'])} to {time_text(interval['p90_s'])}: " \
        f"p10 to p90 of {interval['runs']} {interval['of']}"
    check_equal(f'{name}: interval', lines['step time'][1], wanted)
    check_equal(f'{name}: verdict', lines['calibrated range'][0], calibration['verdict'])
    if calibration['verdict'] == 'outside':
        check_equal(f'{name}: why', lines['calibrated range'][1:], calibration['outside'])


def check_totals(driver, name, out):
    report = json.loads((out / 'report.json').read_text())
    check_equal(f'{name}: the data is report.json', js(driver, 'return windtunnel.data.report'),
                report)
    cards = js(driver, '''return Object.fromEntries(
        Array.from(document.querySelectorAll('.card'), card => [card.dataset.name,
            [card.querySelector('.value').textContent,
             Number(card.querySelector('.value').dataset.value)]]))''')
    check_equal(f'{name}: step time', cards['step time'],
                [time_text(report['step_time_s']), report['step_time_s']])
    speed = report['tokens_per_s'] or report['samples_per_s']
    check_equal(f'{name}: throughput', cards['throughput'][1], speed)
    if report['mfu'] is not None:
        check_equal(f'{name}: MFU', cards['MFU'], [f"{100 * report['mfu']:.1f} %", report['mfu']])
    fullest = max(report['memory_bytes'], key=lambda stage: stage['total'] / stage['capacity'])
    check_equal(f'{name}: memory', cards['memory'],
                [bytes_text(fullest['total']), fullest['total']])
    check_standing(driver, name, report)
    shown = js(driver, '''return Object.fromEntries(Array.from(
        document.querySelectorAll('#results-table td[data-value]'),
        cell => [cell.dataset.key, Number(cell.dataset.value)]))''')
    numbers = {key: value for key, value in report.items() if isinstance(value, (int, float))}
    check_equal(f'{name}: the table of results', {key: shown.get(key) for key in numbers}, numbers)


def check_sums(driver, name, out):
    report = json.loads((out / 'report.json').read_text())
    split = js(driver, 'return windtunnel.data.split')
    check_close(f'{name}: the slices of the cost are all of it', sum(split.values()), 1)
    shown = js(driver, '''return Array.from(document.querySelectorAll('#cost-table tr[data-share]'),
                                           row => Number(row.dataset.share))''')
    check_close(f'{name}: the slices shown are all of it', sum(shown), 1)
    for row in js(driver, 'return windtunnel.data.time'):
        check_close(f"{name}: the bar of {row['label']}", sum(row['parts_s'].values()),
                    report['step_time_s'])
        check_close(f"{name}: the bubble of {row['label']} by cause",
                    1 + sum(row['bubble_s'].values()), 1 + row['parts_s']['bubble'])
    path = js(driver, '''const {trace, path} = windtunnel;
        return Array.from(Trace.timeOnPath(trace, path).values()).reduce((a, b) => a + b, 0)''')
    check_close(f'{name}: the critical path is as long as the step', path / 1e12,
                report['step_time_s'])
    gaps = js(driver, '''const {trace, path} = windtunnel;
        return path.slice(1).filter(
            (span, i) => trace.finish[span] > trace.finish[path[i]]).length''')
    check_equal(f'{name}: the critical path goes back in time', gaps, 0)


def slices_of(out):
    events = json.loads((out / 'trace.json').read_text())['traceEvents']
    return [event for event in events if event['ph'] == 'X' and event['cat'] != 'idle']


def check_spans(driver, name, out):
    slices = slices_of(out)
    check_equal(f'{name}: number of spans', js(driver, 'return windtunnel.trace.total'),
                len(slices))
    drawn = js(driver, '''const view = windtunnel.timeline; let spans = 0;
        for (const rank of windtunnel.trace.ranks)
          for (const row of view.rowsOf(rank))
            spans += row.items.span.filter(span => span >= 0).length;
        return spans''')
    check_equal(f'{name}: every span is in a row', drawn, len(slices))


# The middle of a span in pixels of the window, after a zoom to it; its rows are unfolded.
POINT_AT = '''
    const span = arguments[0], {trace, timeline: view} = windtunnel;
    const long = trace.finish[span] - trace.start[span];
    view.show(Math.max(0, trace.start[span] - 2 * long),
              Math.min(trace.end, trace.finish[span] + 2 * long));
    const row = view.rows.find(one => one.items.span.includes(span));
    view.root.scrollTop = Math.max(0, row.top - 200);
    view.root.scrollIntoView({block: 'center', behavior: 'instant'});
    const box = view.canvas.getBoundingClientRect();
    return [box.left + view.scale()((trace.start[span] + trace.finish[span]) / 2),
            box.top + row.top - view.root.scrollTop + row.height / 2];'''


def hover(driver, x, y):
    actions = ActionChains(driver, duration=0)
    actions.w3c_actions.pointer_action.move_to_location(round(x), round(y))
    actions.perform()
    return js(driver, '''const tip = document.getElementById('tip');
        return tip.hidden ? null : {head: tip.querySelector('.head').textContent,
            lines: Object.fromEntries(Array.from(tip.querySelectorAll('tr'),
                row => [row.cells[0].textContent, row.cells[1].textContent]))}''')


def check_hover(driver, name, out):
    js(driver, 'windtunnel.timeline.showRanks(true); windtunnel.timeline.showStreams(true)')
    frames(driver)
    # Processes of a trace are ranks counted from 1.
    slices = {(event['pid'] - 1, event['name'], event['ts']): event for event in slices_of(out)}
    for kind in range(4):
        span = js(driver, '''const {trace} = windtunnel, found = [];
            for (let i = 0; i < trace.total; ++i)
              if (trace.ranks[trace.rankOf[i]].program.kind[trace.op[i]] === arguments[0] &&
                  trace.finish[i] > trace.start[i]) found.push(i);
            return found.length ? found[found.length >> 1] : -1''', kind)
        if span < 0:
            continue
        what = js(driver, '''const {trace} = windtunnel, span = arguments[0];
            return {pid: trace.ranks[trace.rankOf[span]].rank, name: Trace.nameOf(trace, span),
                    start: trace.start[span]}''', span)
        x, y = js(driver, POINT_AT, span)
        frames(driver)
        tip = hover(driver, x, y)
        event = slices.get((what['pid'], what['name'], what['start'] / 1e6))
        label = f"{name}: hover over {what['name']}"
        if not tip or not event:
            check(label, False, f'tip {tip}, slice {event}')
            continue
        check_equal(f'{label}, name', tip['head'], event['name'])
        start, duration = round(event['ts'] * 1e6), round(event['dur'] * 1e6)
        check_equal(f'{label}, times',
                    [tip['lines'][key] for key in ('from', 'to', 'duration')],
                    [exact_text(start), exact_text(start + duration), exact_text(duration)])
        if 'bytes' in event['args']:
            check_equal(f'{label}, bytes', tip['lines'].get('bytes'),
                        bytes_text(event['args']['bytes']))
        check(f'{label}, what it waited for', tip['lines'].get('waited for'))
    js(driver, 'windtunnel.timeline.showStreams(false);'
               'windtunnel.timeline.show(0, windtunnel.trace.end)')
    frames(driver)


def check_pauses(driver, name):
    """The longest pause says why, and for what it waits."""
    place = js(driver, '''const {timeline: view} = windtunnel; let best = null;
        for (const row of view.rows) {
          if (!row.isCompute) continue;
          row.rank.idle.start.forEach((start, i) => {
            const long = row.rank.idle.finish[i] - start;
            if (!best || long > best.long) best = {long, row, i, middle: start + long / 2};
          });
        }
        view.root.scrollTop = Math.max(0, best.row.top - 200);
        view.root.scrollIntoView({block: 'center', behavior: 'instant'});
        const box = view.canvas.getBoundingClientRect();
        return {x: box.left + view.scale()(best.middle), long: best.long,
                y: box.top + best.row.top - view.root.scrollTop + best.row.height / 2,
                cause: Theme.nameOf(best.row.rank.idle.cause[best.i])}''')
    frames(driver)
    tip = hover(driver, place['x'], place['y'])
    check(f'{name}: hover over a pause', tip and tip['head'] == place['cause'], f'{tip} {place}')
    if tip:
        check_equal(f'{name}: length of a pause', tip['lines']['duration'],
                    exact_text(place['long']))


def view(driver):
    low, high = js(driver, 'return windtunnel.timeline.view()')
    return low, high, high - low


def check_zoom(driver, name):
    rows = driver.find_element('id', 'rows')
    js(driver, 'arguments[0].scrollIntoView({block: "center", behavior: "instant"})', rows)
    whole = view(driver)[2]
    js(driver, 'document.getElementById("zoom-in").click()')
    time.sleep(0.1)
    check_close(f'{name}: the button zooms', view(driver)[2], whole / 2, 1e-6)
    rows.send_keys(Keys.ARROW_RIGHT)
    check(f'{name}: a key moves', view(driver)[0] > whole / 4 and view(driver)[2] < 0.51 * whole)
    box = js(driver, 'const b = windtunnel.timeline.canvas.getBoundingClientRect();'
                     'return [b.left, b.top, b.width]')
    before = view(driver)
    x, y = round(box[0] + box[2] / 2), round(box[1] + 34)
    actions = ActionChains(driver, duration=20)
    actions.w3c_actions.pointer_action.move_to_location(x, y).pointer_down() \
        .move_to_location(x + 120, y).pointer_up()
    actions.perform()
    check(f'{name}: a drag moves', view(driver)[0] < before[0], f'{before} {view(driver)}')
    check_close(f'{name}: a drag does not zoom', view(driver)[2], before[2], 1e-6)
    js(driver, '''windtunnel.timeline.canvas.dispatchEvent(new WheelEvent('wheel', {
        deltaY: -300, ctrlKey: true, bubbles: true, cancelable: true,
        clientX: arguments[0], clientY: arguments[1]}))''', x, y)
    frames(driver)
    check(f'{name}: the wheel zooms', view(driver)[2] < 0.9 * before[2])
    js(driver, 'document.getElementById("zoom-fit").click()')
    frames(driver)
    check_close(f'{name}: back to the whole step', view(driver)[2], whole, 1e-6)
    strip = js(driver, '''const b = document.querySelector('#overview .overlay')
        .getBoundingClientRect(); return [b.left, b.top, b.width, b.height]''')
    actions = ActionChains(driver, duration=20)
    actions.w3c_actions.pointer_action \
        .move_to_location(round(strip[0] + strip[2] * 0.25), round(strip[1] + 20)).pointer_down() \
        .move_to_location(round(strip[0] + strip[2] * 0.5), round(strip[1] + 20)).pointer_up()
    actions.perform()
    frames(driver)
    low, high, long = view(driver)
    check_close(f'{name}: a marked range is shown', low / whole, 0.25, 0.02)
    check_close(f'{name}: its end too', high / whole, 0.5, 0.02)
    js(driver, 'document.getElementById("zoom-fit").click()')


def click_triangle(driver):
    x, y = js(driver, '''const view = windtunnel.timeline, row = view.rows[0];
        view.root.scrollTop = 0;
        view.root.scrollIntoView({block: 'center', behavior: 'instant'});
        const box = view.canvas.getBoundingClientRect();
        return [box.left + 10, box.top + row.top + row.height / 2]''')
    actions = ActionChains(driver, duration=0)
    actions.w3c_actions.pointer_action.move_to_location(round(x), round(y)).click()
    actions.perform()


def check_folding(driver, name):
    count = 'return windtunnel.timeline.rows.length'
    before = js(driver, count)
    click_triangle(driver)
    check(f'{name}: a triangle unfolds the streams', js(driver, count) > before)
    click_triangle(driver)
    check_equal(f'{name}: and folds them', js(driver, count), before)
    check_close(f'{name}: without zooming', view(driver)[2],
                js(driver, 'return windtunnel.trace.end'), 1e-6)


# Of a pixel of the axis, through a copy: the page never reads its canvas back.
COLOR_OF_AXIS = '''const copy = document.createElement('canvas');
    const c = copy.getContext('2d', {willReadFrequently: true});
    c.drawImage(windtunnel.timeline.canvas, 2, 4, 1, 1, 0, 0, 1, 1);
    return Array.from(c.getImageData(0, 0, 1, 1).data)'''


def check_theme(driver, name):
    frames(driver, 3)
    check_equal(f'{name}: light when the system is', js(driver, COLOR_OF_AXIS),
                [255, 255, 255, 255])
    js(driver, 'document.getElementById("theme").click()')
    frames(driver, 3)
    check_equal(f'{name}: dark after the button', js(
        driver, 'return document.documentElement.dataset.theme'), 'dark')
    check(f'{name}: the timeline is dark too', js(driver, COLOR_OF_AXIS)[0] < 64)
    js(driver, 'document.getElementById("theme").click()')
    frames(driver, 3)


def check_names(driver, out):
    check_equal('hostile: title', js(driver, 'return document.title'),
                '<img src=x onerror=alert(1)> "é" – Windtunnel')
    check_equal('hostile: heading', js(driver, 'return document.getElementById("job").textContent'),
                '<img src=x onerror=alert(1)> "é"')
    check('hostile: the model is shown', HOSTILE in js(
        driver, 'return document.getElementById("subject").textContent'))
    check('hostile: its source is shown', HOSTILE in js(
        driver, 'return document.getElementById("assumptions-table").textContent'))
    check_equal('hostile: nothing of it runs', js(driver, 'return window.hacked'), None)
    check_equal('hostile: it makes no element', js(
        driver, 'return [document.images.length, document.scripts.length]'), [0, 3])


# Milliseconds a frame, over frames that each call `move`.
PAN = '''
    const [frames, done] = [arguments[0], arguments[1]];
    const view = window.windtunnel && windtunnel.timeline;
    const times = [];
    let last = performance.now(), i = 0;
    (function next() {
      if (view) {
        const {end} = windtunnel.trace, part = 0.5 + 0.4 * Math.cos(i / 5), at = (1 - part) * end;
        view.show(at * (i % 20) / 20, at * (i % 20) / 20 + part * end);
      }
      requestAnimationFrame(now => {
        times.push(now - last);
        last = now;
        ++i < frames ? next() : done(times.sort((a, b) => a - b)[frames >> 1]);
      });
    })();'''


def check_speed(driver, name):
    spans = js(driver, 'return windtunnel.trace.total')
    check(f'{name}: about 100,000 spans', 80_000 < spans < 200_000, str(spans))
    js(driver, 'windtunnel.timeline.root.scrollIntoView({block: "center", behavior: "instant"})')
    results = {}
    for what, script in [('folded', ''), ('all ranks and streams', '''
            windtunnel.timeline.showRanks(true); windtunnel.timeline.showStreams(true)''')]:
        js(driver, script)
        before = js(driver, 'return windtunnel.timeline.frames')
        results[what] = driver.execute_async_script(PAN, 60)
        drawn = js(driver, 'return windtunnel.timeline.frames') - before
        check(f'{name}: pans, {what}: every frame is drawn', drawn >= 55, str(drawn))
    driver.get('about:blank')
    empty = driver.execute_async_script(PAN, 60)
    for what, found in results.items():
        print(f'{name}, {what}: {found:.1f} ms a frame of {spans} spans; an empty page {empty:.1f}')
        check(f'{name}: pans, {what}', found < MOST_TIMES_AS_SLOW * max(empty, 16.7), f'{found} ms')


def check_print(driver, name):
    pdf = driver.execute_cdp_cmd('Page.printToPDF', {'printBackground': True})
    check(f'{name}: prints', 50_000 < len(pdf['data']) < 8_000_000, str(len(pdf['data'])))


def check_page(driver, name, out):
    open_page(driver, out / 'report.html')
    check_loads(driver, name, out / 'report.html')
    check_totals(driver, name, out)
    check_sums(driver, name, out)
    check_spans(driver, name, out)
    check_zoom(driver, name)
    check_hover(driver, name, out)
    check_pauses(driver, name)
    check_folding(driver, name)
    check_theme(driver, name)
    if name == 'hostile':
        check_names(driver, out)
    if name == 'llama':
        check_print(driver, name)
    js(driver, 'document.getElementById("show-path").click()')
    frames(driver)
    check_loads(driver, f'{name}, after use', out / 'report.html')
    if name == 'big':
        check_speed(driver, name)


def main():
    pages = {
        'zb-v': simulate(ROOT / 'workloads/zb-v-teaching.yaml', 'zb_v'),
        'llama': simulate(ROOT / 'workloads/llama3-8b-mixed.yaml', 'llama'),
        'hostile': hostile_page(),
        'big': simulate(ROOT / 'workloads/gpt3-175b-selene.yaml', 'big', '--set', 'fidelity=stage',
                        '--set', 'gpus=192', '--set', 'parallel.data=3', '--set',
                        'batch.global=288'),
    }
    return check_pages(pages, check_page)


sys.exit(main())
