// Puts the page together: headline, tables, and the parts that the other files draw.
'use strict';

(() => {
  const data = JSON.parse(document.getElementById('data').textContent);
  const {report} = data, {inputs} = report;
  const byId = id => document.getElementById(id);

  // ---- headline ----

  // value: the exact number of report.json that the text shows
  function card(name, text, value, lines) {
    const made = byId('headline').appendChild(Page.element('div', undefined, 'card'));
    made.dataset.name = name;
    made.appendChild(Page.element('div', name, 'name'));
    const shown = made.appendChild(Page.element('div', text, 'value'));
    if (typeof value === 'number') {
      shown.dataset.value = value;
      shown.title = String(value);
    }
    for (const [line, className] of lines)
      made.appendChild(Page.element('div', line, 'more ' + (className || '')));
  }

  function speedCards() {
    const words = [`bubble fraction ${Format.share(report.bubble_fraction)}`];
    card('step time', Format.time(report.step_time_s), report.step_time_s,
         report.interval === null ? [words] : [[intervalText()], words]);
    const samples = `${Format.count(report.samples_per_s)} samples/s`;
    if (report.tokens_per_s === null)
      card('throughput', samples, report.samples_per_s, []);
    else
      card('throughput', `${Format.count(report.tokens_per_s)} tokens/s`, report.tokens_per_s,
           [[`${Format.count(report.tokens_per_s_per_gpu)} tokens/s per GPU`], [samples]]);
    if (report.mfu === null) {
      card('MFU', '–', null, [['the model says no FLOPs']]);
      return;
    }
    const lines = [[`${Format.unit(report.model_tflops_per_gpu * 1e12, 'FLOP/s')} of ` +
                    `${Format.unit(report.peak_tflops_per_gpu * 1e12, 'FLOP/s')} per GPU`]];
    if (report.hfu !== report.mfu) lines.push([`HFU ${Format.share(report.hfu)}`]);
    if (report.mfu_causal !== null) lines.push([`causal ${Format.share(report.mfu_causal)}`]);
    card('MFU', Format.share(report.mfu), report.mfu, lines);
  }

  function costCard() {
    const run = report.run_time_s === null ? []
        : [[`whole run ${Format.time(report.run_time_s)}` +
            (report.usd_per_run === null ? '' : `, ${Format.usd(report.usd_per_run)}`)]];
    if (report.usd_per_step === null) {
      card('cost', 'no price', null, run.concat([['the job names none']]));
    } else if (report.usd_per_million_tokens !== null) {
      card('cost', `${Format.usd(report.usd_per_million_tokens)} / M tokens`,
           report.usd_per_million_tokens,
           [[`${Format.usd(report.usd_per_step)} per step`], ...run]);
    } else {
      card('cost', `${Format.usd(report.usd_per_step)} / step`, report.usd_per_step, run);
    }
  }

  function memoryCard() {
    const fullest = report.memory_bytes.reduce(
        (a, b) => b.total / b.capacity > a.total / a.capacity ? b : a);
    const fits = fullest.total <= fullest.capacity;
    card('memory', Format.bytes(fullest.total), fullest.total,
         [[fits ? 'fits' : 'does not fit', fits ? 'good' : 'bad'],
          [`${Format.share(fullest.total / fullest.capacity)} of ` +
           `${Format.bytes(fullest.capacity)}, stage ${fullest.stage} is the fullest`]]);
  }

  // What the step time is worth; a measured step has neither.
  function intervalText() {
    const {interval} = report;
    return interval.runs === 0 ? `interval: none, ${interval.of}`
        : `${Format.time(interval.p10_s)} to ${Format.time(interval.p90_s)}: p10 to p90 of ` +
          `${interval.runs} ${interval.of}`;
  }

  function calibrationCard() {
    if (report.calibration === null) return;
    const {verdict, outside} = report.calibration;
    const why = {
      inside: ["kernels as in the card's profile, sizes as published"],
      'not needed': ['the model gives its own times'],
    };
    card('calibrated range', verdict, null, (why[verdict] || outside).map(line => [line]));
  }

  function headline() {
    const {layout} = inputs;
    document.title = `${report.job} – Windtunnel`;
    byId('job').textContent = report.job;
    const trained = inputs.trained_parameters === inputs.parameters
        ? '' : `, ${Format.count(inputs.trained_parameters)} trained`;
    byId('subject').textContent =
        `${inputs.model} (${Format.count(inputs.parameters)} parameters${trained}) on ` +
        `${Format.plural(inputs.gpus, 'GPU')} of ${inputs.cluster}: tensor ${layout.tensor}, ` +
        `pipeline ${layout.pipeline}, data ${layout.data}` +
        (layout.context > 1 ? `, context ${layout.context}` : '') +
        (layout.expert > 1 ? `, expert ${layout.expert}` : '') +
        (layout.zero_stage ? `, ZeRO-${layout.zero_stage}` : '') +
        (layout.pipeline > 1 ? `, schedule ${inputs.schedule}` : '') +
        `, global batch ${inputs.batch.global}, micro-batch ${inputs.batch.micro}.`;
    speedCards();
    costCard();
    memoryCard();
    calibrationCard();
  }

  // ---- timeline ----

  function timeline() {
    const trace = Trace.decode(data);
    const view = new Timeline(trace, byId('rows'), byId('overview'));
    const path = Trace.criticalPath(trace);
    byId('zoom-in').addEventListener('click', () => view.zoomBy(2));
    byId('zoom-out').addEventListener('click', () => view.zoomBy(0.5));
    byId('zoom-fit').addEventListener('click', () => view.show(0, trace.end));
    byId('show-streams').addEventListener(
        'change', event => view.showStreams(event.target.checked));
    byId('show-ranks').addEventListener('change', event => view.showRanks(event.target.checked));
    byId('show-ranks').checked = view.openStages.size === view.byStage.length;
    byId('show-ranks-label').hidden = view.byStage.length === trace.ranks.length;
    byId('show-path').addEventListener(
        'change', event => view.highlight(event.target.checked ? path : null));
    const used = new Set();
    for (let i = 0; i < trace.total; ++i) used.add(trace.category[i]);
    for (const rank of trace.ranks) for (const category of rank.idle.category) used.add(category);
    if (trace.communication.some(time => time > 0)) used.add(trace.categories.indexOf('tensor'));
    if (trace.recompute.some(time => time > 0)) used.add(trace.categories.indexOf('recompute'));
    Page.legend(byId('legend'), trace.categories.filter((_, i) => used.has(i))
        .map(key => ({...Theme.look(key), name: Theme.nameOf(key)})));
    const alike = trace.ranks.some(rank => rank.represented > 1)
        ? ' Ranks that provably do the same are one row (×n).' : '';
    const hidden = data.ranks_of_trace - trace.ranks.length;
    byId('timeline-note').textContent =
        `${Format.plural(trace.total, 'span')} of ${Format.plural(trace.ranks.length, 'rank')}.` +
        alike +
        (hidden > 0 ? ` ${Format.plural(hidden, 'rank')} more would be too many for a page; ` +
                      'trace.json has them.' : '') +
        ' The strip at the foot of a compute span shows how much of it is recomputation and ' +
        'tensor-parallel communication. Where many spans share a pixel, its column shows the ' +
        'shares of time.';
    Charts.criticalPath(trace, path);
    // For tests and for the console.
    window.windtunnel = {data, trace, timeline: view, path};
  }

  // ---- inputs ----

  const isTable = value => value !== null && typeof value === 'object';

  function leafText(key, value) {
    if (value === null) return '–';
    if (typeof value === 'boolean') return value ? 'yes' : 'no';
    if (typeof value === 'number') {
      return /_bytes$/.test(key) ? Format.bytes(value) : String(value);
    }
    if (Array.isArray(value)) return value.length ? value.join(', ') : 'none';
    return value;
  }

  // Every key of a JSON object in a table; objects inside become groups.
  function keyTable(root, object) {
    const table = root.appendChild(Page.element('table', undefined, 'data'));
    const body = table.createTBody();
    (function add(values, depth) {
      for (const [key, value] of Object.entries(values)) {
        const isGroup = isTable(value) && !(Array.isArray(value) && !value.some(isTable));
        const row = body.insertRow(), name = row.insertCell();
        name.textContent = /^\d+$/.test(key) ? `${Number(key) + 1}.` : Format.words(key);
        name.className = isGroup ? 'group' : 'key';
        name.style.paddingLeft = 16 * depth + 'px';
        const cell = row.insertCell();
        if (isGroup) add(value, depth + 1);
        else {
          cell.textContent = leafText(key, value);
          if (typeof value === 'number') cell.dataset.value = value;
          cell.dataset.key = key;
        }
      }
    })(object, 0);
  }

  function calibrationTable() {
    const rows = data.calibration.filter(row => row.class !== 'fixed');
    byId('calibration-note').textContent = rows.length
        ? 'A kernel smaller or larger than all points of its curve gets the efficiency of the ' +
          'nearest point.' : 'The model gives the times of its stages itself.';
    if (!rows.length) return;
    const several = inputs.gpu_types.length > 1;
    const head = [['class', false], ['of kernel time', true], ['inside', true], ['smaller', true],
                  ['larger', true], ['calibrated sizes', false], ['source', false]];
    if (several) head.unshift(['GPU', false]);
    Page.table(byId('calibration-table'), head, rows.map(row => {
      const range = row.from === null ? 'one number for all'
          : `${Format.unit(row.from, row.unit)} to ${Format.unit(row.to, row.unit)}`;
      return (several ? [row.gpu] : []).concat(
          [row.class, ...[row.share, row.inside, row.below, row.above].map(Format.share), range,
           row.source || 'none: the datasheet']);
    }));
  }

  function inputTables() {
    keyTable(byId('inputs-table'), inputs);
    const results = {};
    for (const [key, value] of Object.entries(report))
      if (!['inputs', 'assumptions', 'memory_bytes'].includes(key)) results[key] = value;
    keyTable(byId('results-table'), results);
    calibrationTable();
    keyTable(byId('assumptions-table'), report.assumptions);
  }

  Theme.start();
  headline();
  timeline();
  Charts.timeByStage(data);
  Charts.memory(data);
  Network.start(data);
  ClusterChart.start(data);
  Charts.cost(data);
  inputTables();
})();
