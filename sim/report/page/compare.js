// The page of a comparison: two timelines that move together, and the differences by cause.
'use strict';

(() => {
  const data = JSON.parse(document.getElementById('data').textContent);
  const {comparison, tables} = data;
  const byId = id => document.getElementById(id);

  // What trace.js decodes: every stage has a program with all ops of its side.
  function traceOf(side, step) {
    const stages = Array.from(new Set(side.ranks.map(rank => rank.stage)));
    const {category, ...ops} = side.ops;
    return Trace.decode({
      step, streams: side.streams,
      programs: stages.map(stage => ({...ops, categoryKey: category, stage})),
      ranks: side.ranks.map(rank => ({...rank, program: stages.indexOf(rank.stage)})),
    });
  }

  const names = {a: comparison.a.job, b: comparison.b.job};
  const steps = {a: comparison.step_time_ps.a, b: comparison.step_time_ps.b};

  // ---- timelines ----

  function legend(traces) {
    const used = new Set();
    for (const trace of traces) {
      for (let i = 0; i < trace.total; ++i) used.add(trace.category[i]);
      for (const rank of trace.ranks)
        for (const category of rank.idle.category) used.add(category);
      if (trace.communication.some(time => time > 0)) used.add(trace.categories.indexOf('tensor'));
      if (trace.recompute.some(time => time > 0)) used.add(trace.categories.indexOf('recompute'));
    }
    Page.legend(byId('legend'), traces[0].categories.filter((_, i) => used.has(i))
        .map(key => ({...Theme.look(key), name: Theme.nameOf(key)})));
  }

  function timelines() {
    const traces = ['a', 'b'].map(side => traceOf(data[side], steps[side]));
    const end = Math.max(...traces.map(trace => Math.max(trace.end, d3.max(trace.finish) || 0)));
    const views = ['a', 'b'].map((side, i) => {
      byId('name-' + side).textContent =
          `${side.toUpperCase()}: ${names[side]}, ${Format.picoseconds(steps[side])}`;
      return new Timeline(traces[i], byId('rows-' + side), byId('overview-' + side), end);
    });
    [views[0].partner, views[1].partner] = [views[1], views[0]];
    byId('zoom-in').addEventListener('click', () => views[0].zoomBy(2));
    byId('zoom-out').addEventListener('click', () => views[0].zoomBy(0.5));
    byId('zoom-fit').addEventListener('click', () => views[0].show(0, end));
    for (const [id, action] of [['show-streams', 'showStreams'], ['show-ranks', 'showRanks']])
      byId(id).addEventListener('change', event => {
        for (const view of views) view[action](event.target.checked);
      });
    byId('show-ranks').checked =
        views.every(view => view.openStages.size === view.byStage.length);
    legend(traces);
    const hidden = ['a', 'b'].map(side => data[side].ranks_of_trace - data[side].ranks.length);
    byId('timelines-note').textContent =
        'The axis ends with the longer step; what lies after the end of the other one is shaded.' +
        (hidden[0] + hidden[1] > 0 ? ` ${Format.plural(hidden[0] + hidden[1], 'rank')} more would ` +
                                     'be too many for a page.' : '');
    return {traces, views};
  }

  // ---- causes ----

  // Bars to the right where B takes longer, to the left where it takes less; the last is the sum.
  function drawCauses() {
    const root = byId('causes-chart'), width = root.clientWidth, left = 180, right = width - 90;
    root.textContent = '';
    const rows = comparison.causes_ps.filter(({a, b}) => a !== 0 || b !== 0)
        .concat({cause: 'step_time', difference: comparison.step_time_ps.difference});
    const sizes = rows.map(row => row.difference / 1e12);
    const x = d3.scaleLinear().domain([Math.min(0, d3.min(sizes)), Math.max(0, d3.max(sizes))])
        .range([left + 70, right]);
    if (x.domain()[0] === x.domain()[1]) x.domain([-1e-12, 1e-12]);
    const bar = 20, gap = 6, height = rows.length * (bar + gap);
    const svg = d3.select(root).append('svg').attr('width', width).attr('height', height + 28);
    svg.append('line').attr('class', 'zero').attr('x1', x(0)).attr('x2', x(0)).attr('y2', height);
    rows.forEach(({cause, difference}, i) => {
      const size = difference / 1e12, top = i * (bar + gap), isSum = cause === 'step_time';
      const row = svg.append('g').attr('class', isSum ? 'sum' : 'cause');
      row.append('text').attr('x', left - 8).attr('y', top + bar / 2 + 4).attr('text-anchor', 'end')
          .attr('class', isSum ? 'strong' : '').text(Format.words(cause));
      row.append('rect').attr('x', Math.min(x(0), x(size))).attr('y', top).attr('height', bar)
          .attr('width', Math.abs(x(size) - x(0))).attr('data-cause', cause)
          .attr('data-ps', difference)
          .style('fill', size > 0 ? 'var(--okabe-vermillion)' : 'var(--c-forward)');
      const text = size === 0 ? '0' : `${size > 0 ? '+' : '−'}${Format.time(Math.abs(size))}`;
      row.append('text').attr('class', 'soft').attr('y', top + bar / 2 + 4)
          .attr('x', x(size) + (size < 0 ? -5 : 5)).attr('text-anchor', size < 0 ? 'end' : 'start')
          .text(text);
    });
    const [low, high] = x.domain(), step = d3.tickStep(low, high, 6);
    Charts.axisBottom(svg, x, height, seconds => seconds === 0 ? '0'
        : Format.moment(seconds, step), 6);
  }

  function table(id, lines) {
    const [head, ...rows] = lines;
    return Page.table(byId(id), head.map((name, i) => [name, i > 0]), rows);
  }

  function causes() {
    byId('causes-note').textContent = `${tables.ranks}. B − A, ` +
        'which sums to the difference of the step times.' +
        (comparison.mean_causes_ps ? ' The mean is the same over all ranks.' : '');
    Charts.onResize(byId('causes-chart'), drawCauses);
    const made = table('causes-table', tables.causes);
    made.tBodies[0].rows[made.tBodies[0].rows.length - 1].className = 'total';
  }

  function words() {
    document.title = `${names.a} and ${names.b} – Windtunnel`;
    byId('title').textContent = names.a === names.b ? `${names.a}: two runs`
                                                    : `${names.a} and ${names.b}`;
    byId('subject').textContent = `A: ${comparison.a.path}, B: ${comparison.b.path}`;
    table('headline-table', tables.headline);
    if (tables.inputs.length) table('changes-table', tables.inputs);
    else byId('changes-table').textContent = 'The inputs that the reports show are the same.';
  }

  Theme.start();
  words();
  const {traces, views} = timelines();
  causes();
  // For tests and for the console.
  window.windtunnel = {data, traces, views};
})();
