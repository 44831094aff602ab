// The page of a sweep: scaling, results against what was varied, a heat map, the table of cases.
'use strict';

(() => {
  const data = JSON.parse(document.getElementById('data').textContent);
  const {points, keys, naming, unit, series} = data;
  const byId = id => document.getElementById(id);
  const isNumber = value => typeof value === 'number';
  const rows = points.map((point, index) => ({...point, index}));

  // What is shown of a point; `ran` is false for what a job that does not fit has too.
  const metrics = [
    {key: 'per_s', name: `${unit}/s`, text: Format.count, ran: true},
    {key: 'efficiency', name: 'efficiency', text: Format.share, ran: true, line: 1},
    {key: 'mfu', name: 'MFU', text: Format.share, ran: true},
    {key: 'usd', name: `$ per million ${unit}`, text: Format.usd, ran: true, isLow: true},
    {key: 'gpu_s', name: `GPU time per million ${unit}`, text: Format.time, ran: true, isLow: true},
    {key: 'memory', name: 'memory of the fullest GPU, of its capacity', text: Format.share,
     line: 1, isLow: true},
    {key: 'step_s', name: 'step time', text: Format.time, ran: true, isLow: true},
    {key: 'bubble', name: 'bubble', text: Format.share, ran: true, isLow: true},
  ].filter(({key}) => points.some(point => isNumber(point[key])) &&
                      (key !== 'gpu_s' || !points.some(point => isNumber(point.usd))));

  // ---- what is on the x axis, and what tells lines apart ----

  const distinct = key => Array.from(new Set(rows.map(point => point.values[key])));
  const gpusKey = naming.find(key => keys[key] === 'gpus');
  const xKey = gpusKey === undefined
      ? naming.reduce((a, b) => distinct(b).length > distinct(a).length ? b : a) : gpusKey;
  const lineKeys = naming.filter(key => key !== xKey);
  const lineOf = point => lineKeys.map(key => `${keys[key]} ${point.values[key]}`).join(', ');
  const lines = Array.from(new Set(rows.map(lineOf)));
  const xValues = distinct(xKey), xName = keys[xKey];
  const isNumeric = xValues.every(value => value.trim() !== '' && isFinite(Number(value)));

  const palette = ['--c-forward', '--okabe-orange', '--okabe-green', '--okabe-vermillion',
                   '--okabe-purple', '--okabe-sky', '--okabe-yellow'];
  const dashes = [null, '7 3', '2 3', '7 3 2 3'];
  const look = line => {
    const i = lines.indexOf(line);
    return {color: `var(${palette[i % palette.length]})`,
            dash: dashes[Math.floor(i / palette.length) % dashes.length]};
  };

  const nameOf = point => naming.map(key => `${keys[key]} ${point.values[key]}`).join(', ');
  const tipOf = point => [nameOf(point), [['status', point.status]].concat(metrics
      .filter(({key}) => isNumber(point[key])).map(({key, name, text}) => [name, text(point[key])]),
      isNumber(point.speed_up) ? [['speed-up', point.speed_up.toFixed(2)]] : [])];

  // ---- the frame of a chart ----

  // The scale of the x axis, with `at(point)` in pixels. Scaling wants it logarithmic, as speed-up is
  // on the y axis: then the ideal is a straight line.
  function xScale(left, right, wantsLog = false) {
    if (!isNumeric) {
      const scale = d3.scalePoint().domain(xValues).range([left, right]).padding(0.35);
      return {scale, ticks: xValues, at: point => scale(point.values[xKey])};
    }
    const numbers = xValues.map(Number).sort((a, b) => a - b);
    const [low, high] = [numbers[0], numbers[numbers.length - 1]];
    const isLog = low > 0 && high > low && (wantsLog || high / low >= 8);
    const scale = (isLog ? d3.scaleLog() : d3.scaleLinear())
        .domain(low === high ? [low - 1, high + 1] : [low, high]).range([left + 16, right - 12]);
    return {scale, ticks: numbers, at: point => scale(Number(point.values[xKey]))};
  }

  // An axis below with a label at every value that has room, turned where words need it.
  function drawX(svg, x, top, width) {
    const wide = d3.max(x.ticks, value => String(value).length) * 6.5 + 10;
    let last = -Infinity;
    const isTight = x.ticks.some(value => {
      const before = last;
      last = x.scale(value);
      return last - before < wide;
    });
    const isTurned = isTight && !isNumeric;
    last = -Infinity;
    const shown = x.ticks.filter(value => {
      if (isTurned || x.scale(value) - last >= wide) {
        last = x.scale(value);
        return true;
      }
      return false;
    });
    const axis = d3.axisBottom(x.scale).tickValues(shown).tickSizeOuter(0);
    if (isNumeric) axis.tickFormat(value => String(value));
    const group = svg.append('g').attr('class', 'axis').attr('transform', `translate(0,${top})`)
        .call(axis);
    if (isTurned)
      group.selectAll('text').attr('transform', 'rotate(-30)').attr('text-anchor', 'end');
    svg.append('text').attr('class', 'soft').attr('x', width - 10).attr('text-anchor', 'end')
        .attr('y', top + (isTurned ? 62 : 32)).text(xName);
  }

  function drawY(svg, y, left, right, text, values) {
    const ticks = values || y.ticks(5);
    svg.append('g').selectAll('line').data(ticks).enter().append('line').attr('class', 'grid-line')
        .attr('x1', left).attr('x2', right).attr('y1', y).attr('y2', y);
    svg.append('g').attr('class', 'axis').attr('transform', `translate(${left},0)`)
        .call(d3.axisLeft(y).tickValues(ticks).tickFormat(text).tickSizeOuter(0));
  }

  const bottom = isNumeric ? 40 : 70;
  function frame(root, width, height, title) {
    const svg = d3.select(root).append('svg').attr('width', width).attr('height', height + bottom);
    svg.append('text').attr('class', 'strong').attr('x', 58).attr('y', 12).text(title);
    return svg;
  }

  // Lines of points and a mark at each; `at` gives the pixel of a point.
  function drawLines(svg, key, shown, x, y) {
    for (const line of lines) {
      const on = shown.filter(point => lineOf(point) === line), {color, dash} = look(line);
      svg.append('path').attr('class', 'line').attr('stroke-dasharray', dash)
          .attr('d', d3.line().x(x.at).y(point => y(point[key]))(on.filter(point => point.ran)))
          .style('stroke', color);
      const marks = svg.append('g').selectAll('circle').data(on).enter().append('circle')
          .attr('class', 'mark').attr('data-metric', key).attr('data-point', point => point.index)
          .attr('cx', x.at).attr('cy', point => y(point[key])).attr('r', 4)
          .style('fill', point => point.ran ? color : 'var(--paper)').style('stroke', color);
      Page.tips(marks, tipOf);
    }
  }

  // ---- scaling ----

  // Rings for knees, a diamond for the cheapest point.
  function drawFinds(svg, shown, x, y, key) {
    for (const one of series) {
      const knee = rows[one.knee];
      if (one.points.length < 2) continue;
      svg.append('circle').attr('class', 'knee').attr('cx', x.at(knee)).attr('cy', y(knee[key]))
          .attr('r', 8);
    }
    if (data.cheapest === null) return;
    const best = rows[data.cheapest];
    if (!isNumber(best[key])) return;
    svg.append('path').attr('class', 'cheapest')
        .attr('d', d3.symbol().type(d3.symbolDiamond).size(190)())
        .attr('transform', `translate(${x.at(best)},${y(best[key])})`);
  }

  function speedUpChart(root, width) {
    const height = 300, left = 58, right = width - 10;
    const svg = frame(root, width, height, 'speed-up');
    const shown = rows.filter(point => isNumber(point.speed_up)), x = xScale(left, right, true);
    const ideals = series.map(one => one.points.map(i => rows[i]))
        .map(on => on.map(point => ({at: x.at(point), ideal: point.gpus / on[0].gpus,
                                     base: on[0].gpus, gpus: point.gpus}))
            .sort((a, b) => a.gpus - b.gpus));
    const values = shown.map(point => point.speed_up).concat(...ideals.map(
        line => line.map(({ideal}) => ideal)));
    const y = d3.scaleLog().base(2).domain([Math.min(1, d3.min(values)), d3.max(values) * 1.1])
        .range([height - 4, 24]);
    const [low, high] = y.domain(), ticks = [];
    for (let tick = 2 ** Math.ceil(Math.log2(low)); tick <= high; tick *= 2) ticks.push(tick);
    const every = Math.ceil(ticks.length / 8);
    drawY(svg, y, left, right, value => `${value}`, ticks.filter((_, i) => i % every === 0));
    drawX(svg, x, height, width);
    const drawn = new Set();
    for (const line of ideals) {
      const path = d3.line().x(point => point.at).y(point => y(point.ideal))(line);
      if (line.length < 2 || drawn.has(path)) continue;
      drawn.add(path);
      svg.append('path').attr('class', 'ideal').attr('d', path);
    }
    drawLines(svg, 'speed_up', shown, x, y);
    drawFinds(svg, shown, x, y, 'speed_up');
  }

  function efficiencyChart(root, width) {
    const height = 300, left = 58, right = width - 10;
    const svg = frame(root, width, height, 'efficiency');
    const shown = rows.filter(point => isNumber(point.efficiency)), x = xScale(left, right, true);
    const y = d3.scaleLinear().domain([0, Math.max(1, d3.max(shown, one => one.efficiency)) * 1.08])
        .range([height, 24]);
    drawY(svg, y, left, right, Format.share);
    drawX(svg, x, height, width);
    for (const [value, name] of [[1, 'ideal'], [data.knee_efficiency, 'threshold']])
      svg.append('line').attr('class', name).attr('x1', left).attr('x2', right)
          .attr('y1', y(value)).attr('y2', y(value));
    drawLines(svg, 'efficiency', shown, x, y);
    drawFinds(svg, shown, x, y, 'efficiency');
  }

  function symbol(name) {
    const svg = d3.create('svg').attr('width', 22).attr('height', 14);
    if (name === 'knee') svg.append('circle').attr('class', name).attr('cx', 11).attr('cy', 7)
        .attr('r', 6);
    else if (name === 'cheapest') svg.append('path').attr('class', name)
        .attr('d', d3.symbol().type(d3.symbolDiamond).size(80)()).attr('transform', 'translate(11,7)');
    else svg.append('line').attr('class', name).attr('x2', 22).attr('y1', 7).attr('y2', 7);
    return svg.node();
  }

  function lineSymbol(line) {
    const {color, dash} = look(line), svg = d3.create('svg').attr('width', 26).attr('height', 12);
    svg.append('path').attr('class', 'line').attr('d', 'M0,6H26').attr('stroke-dasharray', dash)
        .style('stroke', color);
    svg.append('circle').attr('cx', 13).attr('cy', 6).attr('r', 4).style('fill', color);
    return svg.node();
  }

  // items: [[element, text], ...]
  function legend(root, items) {
    root.textContent = '';
    for (const [drawn, text] of items) {
      const item = root.appendChild(Page.element('span', undefined, 'item'));
      item.appendChild(drawn);
      item.appendChild(Page.element('span', text));
    }
  }
  const lineItems = () => lines.length > 1 ? lines.map(line => [lineSymbol(line), line]) : [];

  function scaling() {
    const root = byId('scaling-charts');
    byId('scaling').hidden = !data.varies_gpus || !series.some(one => one.points.length > 1);
    if (byId('scaling').hidden) return;
    const kinds = Array.from(new Set(series.filter(one => one.points.length > 1)
        .map(one => one.scaling)));
    const kind = kinds.join('; ');
    byId('scaling-note').textContent = `${kind[0].toUpperCase()}${kind.slice(1)}. Speed-up is ${unit}/s over that of ` +
        'the first case of a line, efficiency the same per GPU. The knee is the largest number of ' +
        `GPUs with an efficiency of at least ${Format.share(data.knee_efficiency)}.`;
    Charts.onResize(root, () => {
      root.textContent = '';
      const width = Math.min(860, root.clientWidth < 900 ? root.clientWidth
                                                         : (root.clientWidth - 12) / 2);
      speedUpChart(root.appendChild(Page.element('div')), width);
      efficiencyChart(root.appendChild(Page.element('div')), width);
    });
    const cost = points.some(point => isNumber(point.usd)) ? '' : ', in GPU time';
    legend(byId('scaling-legend'), lineItems().concat(
        [[symbol('ideal'), 'ideal'], [symbol('threshold'), 'efficiency of the knee'],
         [symbol('knee'), 'knee'], [symbol('cheapest'), `cheapest per ${unit.slice(0, -1)}${cost}`]]));
  }

  // ---- results against what was varied ----

  function metricChart(root, metric, width) {
    const height = 190, left = 58, right = width - 10, {key} = metric;
    const svg = frame(root, width, height, metric.name), x = xScale(left, right);
    const shown = rows.filter(point => isNumber(point[key]));
    const top = d3.max(shown, point => point[key]);
    const y = d3.scaleLinear().domain([0, Math.max(top, metric.line ? 1 : 0) * 1.08 || 1])
        .range([height, 24]);
    const tickText = metric.text === Format.time ? Charts.timeTicks(top, 5) : metric.text;
    drawY(svg, y, left, right, value => value === 0 ? '0' : tickText(value));
    drawX(svg, x, height, width);
    if (metric.line)
      svg.append('line').attr('class', key === 'memory' ? 'capacity' : 'ideal').attr('x1', left)
          .attr('x2', right).attr('y1', y(metric.line)).attr('y2', y(metric.line));
    drawLines(svg, key, shown, x, y);
  }

  function results() {
    const root = byId('metrics-charts');
    byId('metrics-title').textContent = `Results against ${xName}`;
    Charts.onResize(root, () => {
      root.textContent = '';
      const columns = Math.max(1, Math.floor((root.clientWidth + 12) / 390));
      const width = Math.floor((root.clientWidth - 12 * (columns - 1)) / columns);
      root.style.gridTemplateColumns = `repeat(${columns}, ${width}px)`;
      for (const metric of metrics.filter(({key}) => key !== 'efficiency'))
        metricChart(root.appendChild(Page.element('div')), metric, width);
    });
    const hollow = d3.create('svg').attr('width', 14).attr('height', 12);
    hollow.append('circle').attr('cx', 7).attr('cy', 6).attr('r', 4).attr('class', 'hollow');
    const isOom = rows.some(point => !point.ran && isNumber(point.memory));
    legend(byId('metrics-legend'), lineItems().concat(
        isOom ? [[hollow.node(), 'does not fit, not simulated']] : []));
  }

  // ---- the heat map of two variables ----

  // Columns are the values of the x axis, rows the combinations of the others.
  function drawMap() {
    const root = byId('map-chart'), metric = metrics[Number(byId('map-metric').value)];
    const {key} = metric, shown = rows.filter(point => isNumber(point[key]));
    root.textContent = '';
    const columns = isNumeric ? xValues.slice().sort((a, b) => a - b) : xValues;
    const left = Math.min(330, 16 + 6.6 * d3.max(lines, line => line.length)), top = 26;
    const cell = Math.max(56, Math.min(130, (root.clientWidth - left - 10) / columns.length));
    const high = 30, width = left + cell * columns.length + 4;
    const svg = d3.select(root).append('svg').attr('width', width)
        .attr('height', top + high * lines.length + 26);
    const color = d3.scaleLinear().domain(d3.extent(shown, point => point[key]))
        .range([Theme.color('low'), Theme.color('high')]).interpolate(d3.interpolateLab);
    const fill = point => isNumber(point[key]) ? color(point[key]) : 'var(--faint)';
    const ink = point => !isNumber(point[key]) ? 'var(--soft)'
        : d3.lab(color(point[key])).l > 55 ? '#000' : '#fff';
    columns.forEach((value, i) => svg.append('text').attr('class', 'soft').attr('y', 18)
        .attr('x', left + cell * (i + 0.5)).attr('text-anchor', 'middle').text(value));
    lines.forEach((line, i) => svg.append('text').attr('class', 'soft').attr('x', left - 8)
        .attr('y', top + high * (i + 0.5) + 4).attr('text-anchor', 'end').text(line));
    svg.append('text').attr('class', 'soft').attr('x', left)
        .attr('y', top + high * lines.length + 18).text(xName);
    const cells = svg.selectAll('g.cell').data(rows).enter().append('g').attr('class', 'cell')
        .attr('transform', point => `translate(${left + cell * columns.indexOf(
            point.values[xKey])},${top + high * lines.indexOf(lineOf(point))})`);
    cells.append('rect').attr('width', cell - 2).attr('height', high - 2).attr('rx', 3)
        .attr('data-point', point => point.index).style('fill', fill);
    cells.append('text').attr('x', cell / 2 - 1).attr('y', high / 2 + 3)
        .attr('text-anchor', 'middle').style('fill', ink)
        .text(point => isNumber(point[key]) ? metric.text(point[key]) : point.status);
    Page.tips(cells, tipOf);
    const ran = shown.filter(point => point.ran);
    const best = (metric.isLow ? d3.min : d3.max)(ran, point => point[key]);
    cells.filter(point => point.ran && point[key] === best).append('rect').attr('class', 'best')
        .attr('width', cell - 2).attr('height', high - 2).attr('rx', 3);
    byId('map-note').textContent = `The framed cell has the ${metric.isLow ? 'lowest' : 'highest'} ` +
        `${metric.name} of all that ran.`;
  }

  function heatMap() {
    byId('map').hidden = lineKeys.length === 0 || xValues.length < 2;
    if (byId('map').hidden) return;
    const select = byId('map-metric');
    metrics.forEach(({name}, i) => {
      const option = select.appendChild(Page.element('option', name));
      option.value = i;
    });
    select.addEventListener('change', drawMap);
    Charts.onResize(byId('map-chart'), drawMap);
    Theme.onChange(drawMap);
  }

  // ---- text and tables ----

  // A share is drawn as a bar behind its number.
  function cellOf(text) {
    if (!text.endsWith(' %')) return text;
    const cell = Page.element('span'), meter = Page.element('span', undefined, 'meter');
    const bar = meter.appendChild(Page.element('span'));
    bar.style.width = Math.max(0, Math.min(100, parseFloat(text))) + '%';
    bar.style.background = 'var(--accent)';
    cell.appendChild(meter);
    cell.appendChild(Page.element('span', text, 'share'));
    return cell;
  }

  function words() {
    document.title = `${data.title} – Windtunnel`;
    byId('title').textContent = data.title;
    const ran = points.filter(point => point.ran).length;
    byId('subject').textContent = `${Format.plural(points.length, 'case')}` +
        (ran < points.length ? `, of which ${ran} ran` : '') +
        `; varied: ${keys.join(', ')}.`;
    for (const line of data.findings) byId('findings').appendChild(Page.element('p', line));
    byId('failures').hidden = data.failures.length === 0;
    for (const line of data.failures) byId('failures').appendChild(Page.element('p', line));
    Page.table(byId('cases-table'), data.titles.map(title => [title, true]),
               data.rows.map(row => row.map(cellOf)));
    for (const link of document.querySelectorAll('nav a'))
      link.hidden = document.querySelector(link.getAttribute('href')).hidden;
  }

  Theme.start();
  if (metrics.length === 0) {
    for (const id of ['scaling', 'metrics', 'map']) byId(id).hidden = true;
  } else {
    scaling();
    results();
    heatMap();
  }
  words();
  // For tests and for the console.
  window.windtunnel = {data, metrics, lines};
})();
