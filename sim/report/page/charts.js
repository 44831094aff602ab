// Bars and areas drawn with d3: where time and money go, and memory over time.
'use strict';

const Charts = (() => {
  // A horizontal axis below a chart.
  function axisBottom(svg, scale, top, format, ticks) {
    svg.append('g').attr('class', 'axis').attr('transform', `translate(0,${top})`)
        .call(d3.axisBottom(scale).ticks(ticks).tickFormat(format).tickSizeOuter(0));
  }
  function axisLeft(svg, scale, left, format, ticks) {
    svg.append('g').attr('class', 'axis').attr('transform', `translate(${left},0)`)
        .call(d3.axisLeft(scale).ticks(ticks).tickFormat(format).tickSizeOuter(0));
  }

  // Seconds as the axis of a chart shows them: one unit for all ticks.
  function timeTicks(end, ticks) {
    const step = d3.tickStep(0, end, ticks);
    return seconds => seconds === 0 ? '0' : Format.moment(seconds, step);
  }

  // rows: [{label, note, parts: [{key, color, hatch, value}]}] as stacked bars with one scale.
  function stackedBars(root, rows, {unit, max, tip, labelWidth = 150}) {
    root.textContent = '';
    const width = root.clientWidth, isDense = rows.length > 40;
    const bar = isDense ? 12 : 22, gap = isDense ? 3 : 6;
    const height = rows.length * (bar + gap) + 24, x = d3.scaleLinear().domain([0, max])
        .range([labelWidth, width - 24]);
    const svg = d3.select(root).append('svg').attr('width', width).attr('height', height);
    const row = svg.selectAll('g.row').data(rows).enter().append('g').attr('class', 'row')
        .attr('transform', (_, i) => `translate(0,${i * (bar + gap)})`);
    row.append('text').attr('x', labelWidth - 8).attr('y', bar / 2 + 4).attr('text-anchor', 'end')
        .text(({label, note}) => note ? `${label}  ${note}` : label);
    const segments = row.selectAll('rect').data(({label, parts}) => {
      let sum = 0;
      return parts.filter(part => part.value > 0).map(part => {
        const from = sum;
        sum += part.value;
        return {...part, label, from, to: sum};
      });
    }).enter().append('rect').attr('x', part => x(part.from)).attr('height', bar)
        .attr('width', part => Math.max(0, x(part.to) - x(part.from)))
        .attr('data-key', part => part.key).attr('data-value', part => part.value);
    Theme.fill(segments);
    Page.tips(segments, tip);
    axisBottom(svg, x, rows.length * (bar + gap), unit, Math.max(3, Math.floor(width / 140)));
  }

  // The parts of a breakdown, with the bubble by cause; `row` as in the page's data.
  function partsOf(row) {
    const names = {tensor_communication: 'tensor'};
    return Object.entries(row.parts_s).filter(([key]) => key !== 'bubble')
        .concat(Object.entries(row.bubble_s))
        .map(([key, value]) => ({...Theme.look(names[key] || key), key, value}));
  }
  const partName = key => key in Theme.idle || key in Theme.work
      ? Theme.nameOf(key)
      : {tensor_communication: 'tensor-parallel collectives',
         other_communication: 'other communication'}[key] || Format.words(key);

  // Keeps a drawing as wide as its place. A page in a tab that was never shown has no width yet.
  function onResize(root, draw) {
    let width = 0;
    new ResizeObserver(() => {
      if (root.clientWidth === width || root.clientWidth < 320) return;
      width = root.clientWidth;
      draw();
    }).observe(root);
  }

  function timeByStage(data) {
    const root = document.getElementById('time-chart'), end = data.step / 1e12;
    const rows = data.time.map(row => ({
      label: row.label, note: row.ranks > 1 ? `×${row.ranks.toLocaleString('en')}` : '',
      parts: partsOf(row),
    }));
    const tip = part => [partName(part.key), [['', part.label], ['time', Format.time(part.value)],
                         ['of the step', Format.share(part.value / end)]]];
    onResize(root, () => stackedBars(root, rows, {unit: timeTicks(end, 8), max: end, tip}));
    const used = rows[0].parts.map(part => part.key).filter(
        key => rows.some(row => row.parts.find(part => part.key === key).value > 1e-6 * end));
    Page.legend(document.getElementById('time-legend'), used.map(
        key => ({...rows[0].parts.find(part => part.key === key), name: partName(key)})));
    const by = data.time[0].label.startsWith('rank') ? 'of one rank or of ranks that are alike'
        : 'as the mean over the GPUs of a pipeline stage';
    document.getElementById('time-note').textContent =
        `Every bar is one step of ${Format.time(end)}, ${by}. ` +
        'Solid colours are work and communication on the compute stream, hatched ones are idle ' +
        'time.';
  }

  function criticalPath(trace, path) {
    const root = document.getElementById('path-chart'), end = trace.end / 1e12;
    const time = Trace.timeOnPath(trace, path);
    const parts = trace.categories.filter(key => time.has(key))
        .map(key => ({...Theme.look(key), key, value: time.get(key) / 1e12}));
    const rows = [{label: Format.plural(path.length, 'link'), note: '', parts}];
    const tip = part => [Theme.nameOf(part.key), [['on the path', Format.time(part.value)],
                         ['of the step', Format.share(part.value / end)]]];
    onResize(root, () => stackedBars(root, rows, {unit: timeTicks(end, 8), max: end, tip}));
  }

  // ---- memory ----

  function memoryOf(root, stage, kinds, {end, top, width}) {
    const height = 150, left = 52, {report} = stage;
    const svg = d3.select(root).append('svg').attr('width', width).attr('height', height + 44);
    const x = d3.scaleLinear().domain([0, end / 1e12]).range([left, width - 10]);
    const y = d3.scaleLinear().domain([0, top]).range([height + 20, 20]);
    svg.append('text').attr('class', 'strong').attr('x', left).attr('y', 12)
        .text(`stage ${stage.stage}`);
    svg.append('text').attr('class', 'soft').attr('x', width - 10).attr('y', 12)
        .attr('text-anchor', 'end').text(`peak ${Format.bytes(report.total)}`);
    const stacked = d3.stack().keys(kinds).value((i, kind) => stage.bytes[kind][i])(
        d3.range(stage.time.length));
    const area = d3.area().curve(d3.curveStepAfter).x(point => x(point.time))
        .y0(point => y(Math.min(top, point.low))).y1(point => y(Math.min(top, point.high)));
    const times = stage.time.map(ps => ps / 1e12).concat(end / 1e12);
    for (const layer of stacked) {
      const points = times.map((time, i) => {
        const at = layer[Math.min(i, layer.length - 1)];
        return {time, low: at[0], high: at[1]};
      });
      svg.append('path').attr('d', area(points)).style('fill', `var(--m-${layer.key})`);
    }
    const line = Math.max(20, y(report.capacity));
    if (report.capacity <= top * 1.0001)
      svg.append('line').attr('class', 'capacity').attr('x1', left).attr('x2', width - 10)
          .attr('y1', line).attr('y2', line);
    axisLeft(svg, y, left, value => value === 0 ? '0' : Format.bytes(value), 4);
    axisBottom(svg, x, height + 20, timeTicks(end / 1e12, 4), 4);
    const cover = svg.append('rect').attr('x', left).attr('y', 20).attr('height', height)
        .attr('width', width - 10 - left).attr('fill', 'transparent');
    const bisect = d3.bisector(time => time).right;
    cover.on('mousemove', function() {
      const at = Math.max(0, bisect(stage.time, x.invert(d3.mouse(this)[0]) * 1e12) - 1);
      const sum = d3.sum(kinds, kind => stage.bytes[kind][at]);
      Page.showTip(d3.event, `stage ${stage.stage} at ${Format.picoseconds(stage.time[at])}`,
          kinds.slice().reverse().map(kind => [kind, Format.bytes(stage.bytes[kind][at])])
              .concat([['total', Format.bytes(sum)], ['capacity', Format.bytes(report.capacity)]]));
    }).on('mouseleave', Page.hideTip);
  }

  function memory(data) {
    const root = document.getElementById('memory-chart');
    const scale = document.getElementById('memory-scale');
    const kinds = data.memory_kinds.filter(
        kind => data.report.memory_bytes.some(stage => stage[kind] > 0) ||
                data.memory.some(stage => d3.max(stage.bytes[kind]) > 0));
    const stages = data.memory.map(stage => ({
      ...stage, report: data.report.memory_bytes.find(one => one.stage === stage.stage)}));
    const peak = d3.max(stages, stage => Math.max(
        stage.report.total, d3.max(d3.range(stage.time.length),
                                   i => d3.sum(kinds, kind => stage.bytes[kind][i]))));
    const capacity = d3.max(stages, stage => stage.report.capacity);
    function draw() {
      const columns = Math.max(1, Math.min(stages.length, Math.floor(root.clientWidth / 290)));
      const width = Math.min(620, Math.floor((root.clientWidth - 12 * (columns - 1)) / columns));
      root.style.gridTemplateColumns = `repeat(${columns}, ${width}px)`;
      root.textContent = '';
      const top = scale.checked ? peak * 1.05 || 1 : Math.max(peak, capacity) * 1.03;
      for (const stage of stages)
        memoryOf(root.appendChild(Page.element('div')), stage, kinds, {end: data.step, top, width});
    }
    scale.addEventListener('change', draw);
    onResize(root.parentNode, draw);
    Page.legend(document.getElementById('memory-legend'),
                kinds.map(kind => ({color: `var(--m-${kind})`, name: kind}))
                    .concat([{color: 'var(--bad)', name: 'capacity'}]));
    document.getElementById('memory-note').textContent =
        'What the plan allocates on one GPU of each pipeline stage over the step; the dashed ' +
        'line is the capacity of the GPU. Contexts and fragmentation are not in it.';
  }

  // ---- cost ----

  function cost(data) {
    const {report, split} = data, root = document.getElementById('cost-chart');
    if (!split) return;
    const names = {useful: 'useful compute', recomputation: 'recomputation',
                   exposed_communication: 'exposed communication', bubble: 'bubble'};
    const looks = {useful: 'forward', recomputation: 'recompute', exposed_communication: 'tensor',
                   bubble: 'warm_up'};
    const parts = Object.keys(names).map(
        key => ({...Theme.look(looks[key]), key, value: split[key], name: names[key]}));
    const step = report.usd_per_step, run = report.usd_per_run;
    const tip = part => [part.name, [['of the GPU time', Format.share(part.value)]].concat(
        step === null ? [] : [['of a step', Format.usd(part.value * step)]],
        run === null ? [] : [['of the run', Format.usd(part.value * run)]])];
    onResize(root, () => stackedBars(root, [{label: 'all GPUs', note: '', parts}],
                                     {unit: d3.format('.0%'), max: 1, tip}));
    const head = [['', false], ['share of GPU time', true]];
    if (step !== null) head.push(['per step', true]);
    if (run !== null) head.push(['whole run', true]);
    const line = (name, share) => [name, Format.share(share)].concat(
        step === null ? [] : [Format.usd(share * step)],
        run === null ? [] : [Format.usd(share * run)]);
    const rows = parts.map(part => line(part.name, part.value)).concat([line('total', 1)]);
    const table = Page.table(document.getElementById('cost-table'), head, rows);
    parts.forEach((part, i) => { table.tBodies[0].rows[i].dataset.share = part.value; });
    table.tBodies[0].rows[parts.length].className = 'total';
    document.getElementById('cost-note').textContent = step === null
        ? 'The job names no price, so these are shares of the GPU time.'
        : 'The price of a step by what the GPUs do in the time that is paid for. Failures and ' +
          'pauses between steps are not in it.';
  }

  return {timeByStage, criticalPath, memory, cost, onResize, axisBottom, axisLeft, timeTicks};
})();
