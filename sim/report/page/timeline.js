// The timeline: one row per rank and stream on a canvas that shows what is in view. Where many
// spans share a pixel, the column is stacked by how the pixel's time is spent.
'use strict';

class Timeline {
  static gutter = 198;   // for the names of rows
  static axis = 22;      // height of the axis on top
  static computeRow = 24;
  static streamRow = 15;
  static gap = 3;
  static wide = 1.5;     // pixels from which on a span is drawn by itself

  // `end`: where the axis of time ends, if it is not where the step does.
  constructor(trace, root, overviewRoot, end = trace.end) {
    this.trace = trace;
    this.end = end;
    this.partner = null;      // a timeline that shows the same range of time
    this.root = root;
    this.streams = false;     // all streams of all ranks
    this.openRanks = new Set();   // ranks whose streams are shown
    this.openStages = new Set();  // programs of which all ranks are shown
    this.path = null;         // spans of the critical path while it is highlighted
    this.lanes = new Map();   // by rank: rows of its streams
    this.frames = 0;
    this.spacer = root.appendChild(Page.element('div'));
    this.canvas = this.spacer.appendChild(document.createElement('canvas'));
    this.context = this.canvas.getContext('2d');
    this.byStage = d3.nest().key(rank => rank.program.stage).entries(trace.ranks)
        .map(({key, values}) => [Number(key), values]).sort((a, b) => a[0] - b[0]);
    if (trace.ranks.length <= 12)
      for (const [stage] of this.byStage) this.openStages.add(stage);
    this.zoom = d3.zoom()
        .filter(() => this.isZoom(d3.event))
        .on('zoom', () => this.zoomed());
    this.transform = d3.zoomIdentity;
    d3.select(this.canvas).call(this.zoom)
        .on('mousemove.tip', () => this.pointed(d3.event))
        .on('mouseleave.tip', Page.hideTip)
        .on('click.fold', () => this.clicked(d3.event));
    root.addEventListener('scroll', () => this.draw());
    root.addEventListener('keydown', event => this.key(event));
    this.makeOverview(overviewRoot);
    this.recolor();
    Theme.onChange(() => { this.recolor(); this.draw(); });
    new ResizeObserver(() => this.resize()).observe(root);
    this.resize();
  }

  // ---- rows ----

  // The rows of one rank: its compute stream with its idle time, then the other streams. What
  // overlaps on a stream goes to a second row.
  rowsOf(rank) {
    const known = this.lanes.get(rank.index);
    if (known) return known;
    const {trace} = this, streams = trace.data.streams, byStream = streams.map(() => []);
    for (let i = rank.first; i < rank.end; ++i) {
      const lanes = byStream[rank.program.stream[trace.op[i]]];
      let lane = lanes.find(one => trace.finish[one[one.length - 1]] <= trace.start[i] + 0.5);
      if (!lane) lanes.push(lane = []);
      lane.push(i);
    }
    const rows = [];
    byStream.forEach((lanes, stream) => lanes.forEach((spans, lane) => {
      const isCompute = stream === 0 && lane === 0;
      rows.push({
        rank, stream, lane, isCompute,
        name: lane ? `${streams[stream]} ${lane + 1}` : streams[stream],
        height: isCompute ? Timeline.computeRow : Timeline.streamRow,
        items: isCompute ? this.withIdle(rank, spans) : {span: Int32Array.from(spans)},
      });
    }));
    for (const row of rows) this.fillItems(row);
    this.lanes.set(rank.index, rows);
    return rows;
  }

  // Spans and pauses of a compute stream in order of time; a pause i is the item -1 - i.
  withIdle(rank, spans) {
    const {trace} = this, {idle} = rank, merged = [];
    let pause = 0;
    for (const span of spans) {
      while (pause < idle.start.length && idle.start[pause] < trace.start[span])
        merged.push(-1 - pause++);
      merged.push(span);
    }
    while (pause < idle.start.length) merged.push(-1 - pause++);
    return {span: Int32Array.from(merged)};
  }

  fillItems({rank, items}) {
    const {trace} = this, n = items.span.length;
    items.start = new Float64Array(n);
    items.finish = new Float64Array(n);
    items.category = new Uint8Array(n);
    items.span.forEach((span, i) => {
      const pause = -1 - span;
      items.start[i] = span >= 0 ? trace.start[span] : rank.idle.start[pause];
      items.finish[i] = span >= 0 ? trace.finish[span] : rank.idle.finish[pause];
      items.category[i] = span >= 0 ? trace.category[span] : rank.idle.category[pause];
    });
  }

  layOut() {
    this.rows = [];
    let top = Timeline.axis + Timeline.gap;
    for (const [stage, ranks] of this.byStage) {
      const shown = this.openStages.has(stage) ? ranks : ranks.slice(0, 1);
      for (const rank of shown) {
        const all = this.rowsOf(rank), open = this.streams || this.openRanks.has(rank.index);
        for (const row of open ? all : all.filter(one => one.isCompute)) {
          const first = row === all.find(one => one.isCompute);
          this.rows.push({...row, top, hidden: first && rank === ranks[0] ? ranks.length - 1 : 0});
          top += row.height + 1;
        }
        top += Timeline.gap;
      }
    }
    this.contentHeight = top + 2;
    this.spacer.style.height = this.contentHeight + 'px';
    this.resizeCanvas();
    this.draw();
  }

  resize() {
    // A page in a tab that was never shown has no width yet.
    const width = Math.max(480, this.root.clientWidth);
    if (width === this.width) return;
    this.width = width;
    const extent = [[Timeline.gutter, 0], [this.width, 100]];
    this.base = d3.scaleLinear().domain([0, this.end])
        .range([Timeline.gutter, this.width - 12]);
    this.zoom.extent(extent).translateExtent([[Timeline.gutter, -Infinity], [this.width, Infinity]])
        .scaleExtent([1, Math.max(10, this.end / 1e4)]);
    this.sizeOverview();
    this.layOut();
  }

  resizeCanvas() {
    const height = Math.min(this.contentHeight, 558), ratio = window.devicePixelRatio || 1;
    this.height = height;
    this.ratio = ratio;
    this.canvas.style.width = this.width + 'px';
    this.canvas.style.height = height + 'px';
    this.canvas.width = Math.round(this.width * ratio);
    this.canvas.height = Math.round(height * ratio);
  }

  recolor() {
    const names = this.trace.categories;
    this.flat = names.map(key => Theme.color(key in Theme.idle ? 'idle:' + key : key));
    this.isIdle = names.map(key => key in Theme.idle);
    const paper = d3.rgb(Theme.color('paper'));
    // As numbers in the byte order of ImageData; idle time as light as its hatching looks.
    this.packed = Uint32Array.from(names, (key, i) => {
      const c = d3.rgb(d3.interpolateRgb(paper, this.flat[i])(this.isIdle[i] ? 0.42 : 1));
      return (255 << 24 | c.b << 16 | c.g << 8 | c.r) >>> 0;
    });
    this.packedPaper = (255 << 24 | paper.b << 16 | paper.g << 8 | paper.r) >>> 0;
    this.fills = names.map((key, i) => {
      if (!this.isIdle[i]) return this.flat[i];
      const pattern = this.context.createPattern(Theme.hatchTile(key), 'repeat');
      const ratio = window.devicePixelRatio || 1;
      pattern.setTransform(new DOMMatrix().scale(1 / ratio));
      return pattern;
    });
    this.textOn = this.flat.map(color => d3.lab(color).l > 62 ? '#000' : '#fff');
    this.tensor = names.indexOf('tensor');
    this.recomputed = names.indexOf('recompute');
    if (this.overviewArea) this.drawOverview();
  }

  // ---- drawing ----

  // The scale of the present view, from picoseconds to pixels.
  scale() { return this.transform.rescaleX(this.base); }
  view() { return this.scale().domain(); }

  draw() {
    if (this.pending || !this.rows) return;
    this.pending = requestAnimationFrame(() => { this.pending = 0; this.paint(); });
  }

  paint() {
    const {context: c, width, height, ratio} = this, x = this.scale();
    const [from, to] = x.domain();
    c.setTransform(ratio, 0, 0, ratio, 0, 0);
    c.fillStyle = Theme.color('paper');
    c.fillRect(0, 0, width, height);
    const shift = this.root.scrollTop;
    c.save();
    c.beginPath();
    c.rect(Timeline.gutter, Timeline.axis, width - Timeline.gutter, height);
    c.clip();
    const visible = this.rows.filter(
        row => row.top + row.height > shift + Timeline.axis && row.top < shift + height);
    for (const row of visible) this.paintRow(row, x, from, to, row.top - shift);
    if (this.path) this.paintPath(x, from, to, shift);
    this.paintEnd(x);
    c.restore();
    this.paintNames(visible, shift);
    this.paintAxis(x);
    ++this.frames;
  }

  // Where the axis goes on after the step.
  paintEnd(x) {
    const {context: c} = this, left = x(this.trace.end);
    if (this.trace.end >= this.end || left > this.width) return;
    c.fillStyle = Theme.color('line');
    c.globalAlpha = 0.45;
    c.fillRect(left, 0, this.width - left, this.height);
    c.globalAlpha = 1;
    c.fillStyle = Theme.color('contrast');
    c.fillRect(left, 0, 1.5, this.height);
  }

  // The first item of a row that ends after `time`.
  firstAfter(items, time) {
    let low = 0, high = items.finish.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (items.finish[middle] <= time) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  paintRow(row, x, from, to, top) {
    const {items} = row, k = (x(to) - x(from)) / (to - from), offset = Timeline.gutter;
    const at = time => (time - from) * k;
    const columns = Math.ceil(this.width - offset), n = items.span.length;
    const wide = [];
    let sums = null, lastColumn = -1, firstColumn = columns;
    for (let i = this.firstAfter(items, from); i < n && items.start[i] < to; ++i) {
      const pause = i;
      while (this.isSamePause(items, i)) ++i;
      const begin = Math.max(0, at(items.start[pause]));
      const end = Math.min(columns, at(items.finish[i]));
      if (end - begin >= Timeline.wide) {
        wide.push([pause, i]);
        continue;
      }
      if (!sums) sums = this.emptyColumns(columns);
      const last = Math.min(columns - 1, Math.floor(end));
      for (let column = Math.floor(begin); column <= last; ++column) {
        const part = Math.min(end, column + 1) - Math.max(begin, column);
        this.addToColumn(sums, column, row, i, part);
        firstColumn = Math.min(firstColumn, column);
        lastColumn = Math.max(lastColumn, column);
      }
    }
    if (sums) this.paintColumns(sums, firstColumn, lastColumn, row.height, offset, top);
    for (const [first, last] of wide)
      this.paintSpan(row, last, x(items.start[first]), x(items.finish[last]), top);
  }

  // Whether the item after this one goes on idling for the same reason: waiting for one gradient
  // bucket after another is one area.
  isSamePause(items, i) {
    return i + 1 < items.span.length && items.span[i] < 0 && items.span[i + 1] < 0 &&
        items.category[i] === items.category[i + 1] && items.start[i + 1] - items.finish[i] < 1;
  }

  // Sums of time by column and category, reused from row to row.
  emptyColumns(columns) {
    const size = columns * this.trace.categories.length;
    if (!this.columnSums || this.columnSums.length < size) this.columnSums = new Float32Array(size);
    else this.columnSums.fill(0, 0, size);
    return this.columnSums;
  }

  addToColumn(sums, column, row, i, part) {
    const {trace} = this, {items} = row, base = column * trace.categories.length;
    const span = items.span[i], all = items.finish[i] - items.start[i];
    if (span >= 0 && row.isCompute && all > 0) {
      const communication = part * trace.communication[span] / all;
      const recompute = part * trace.recompute[span] / all;
      sums[base + this.tensor] += communication;
      sums[base + this.recomputed] += recompute;
      part -= communication + recompute;
    }
    sums[base + items.category[i]] += part;
  }

  paintColumns(sums, first, last, height, left, top) {
    const {ratio} = this, categories = this.trace.categories.length;
    const w = Math.round((last + 1 - first) * ratio), h = Math.round(height * ratio);
    if (w <= 0 || h <= 0) return;
    const image = this.context.createImageData(w, h);
    const pixels = new Uint32Array(image.data.buffer).fill(this.packedPaper);
    for (let px = 0; px < w; ++px) {
      const base = (first + Math.min(last - first, Math.floor(px / ratio))) * categories;
      let filled = 0;
      for (let category = 0; category < categories; ++category) {
        const part = sums[base + category];
        if (part <= 0) continue;
        const begin = Math.round(filled * h);
        filled = Math.min(1, filled + part);
        const end = Math.round(filled * h), color = this.packed[category];
        for (let y = begin; y < end; ++y) pixels[(h - 1 - y) * w + px] = color;
      }
    }
    // putImageData knows no clipping: draw through a canvas.
    if (!this.stamp) this.stamp = document.createElement('canvas');
    this.stamp.width = w;
    this.stamp.height = h;
    this.stamp.getContext('2d').putImageData(image, 0, 0);
    this.context.drawImage(this.stamp, left + first, top, w / ratio, h / ratio);
  }

  paintSpan(row, i, x0, x1, top) {
    const {context: c, trace} = this, span = row.items.span[i], category = row.items.category[i];
    const left = Math.max(x0, Timeline.gutter - 2), right = Math.min(x1, this.width + 2);
    const seam = right - left > 5 ? 0.6 : 0;
    c.fillStyle = this.fills[category];
    c.fillRect(left, top, right - left - seam, row.height);
    if (span < 0) {
      this.label(Theme.nameOf(trace.categories[category]).replace('bubble: ', ''), left, right, top,
                 row.height, Theme.color('ink'), true);
      return;
    }
    if (row.isCompute) this.paintShares(span, x0, x1, top, row.height, seam);
    if (right - left > 18 && row.height > 12)
      this.label(Trace.nameOf(trace, span), left, right, top,
                 row.height - (row.isCompute ? 5 : 0), this.textOn[category], false);
  }

  // At the foot of a compute span, as lengths: what of it ran again and what communicated.
  paintShares(span, x0, x1, top, height, seam) {
    const {context: c, trace} = this, k = (x1 - x0) / (trace.finish[span] - trace.start[span]);
    const recompute = trace.recompute[span] * k, communication = trace.communication[span] * k;
    c.fillStyle = this.flat[this.recomputed];
    c.fillRect(x0, top + height - 5, recompute, 5);
    c.fillStyle = this.flat[this.tensor];
    c.fillRect(x0 + recompute, top + height - 5, Math.max(0, communication - seam), 5);
  }

  label(text, left, right, top, height, color, onHatching) {
    const {context: c} = this;
    c.font = `${height < 18 ? 10 : 11}px system-ui, "DejaVu Sans", sans-serif`;
    const width = c.measureText(text).width;
    if (width > right - left - (onHatching ? 6 : 2)) return;
    const middle = (left + right) / 2, y = top + height / 2 + 0.5;
    c.textAlign = 'center';
    c.textBaseline = 'middle';
    if (onHatching) {
      c.fillStyle = Theme.color('paper');
      c.globalAlpha = 0.8;
      c.fillRect(middle - width / 2 - 3, y - 7, width + 6, 14);
      c.globalAlpha = 1;
    }
    c.fillStyle = color;
    c.fillText(text, middle, y);
  }

  paintNames(rows, shift) {
    const {context: c} = this;
    c.fillStyle = Theme.color('paper');
    c.fillRect(0, Timeline.axis, Timeline.gutter - 1, this.height);
    c.textAlign = 'left';
    c.textBaseline = 'middle';
    c.save();
    c.beginPath();
    c.rect(0, Timeline.axis, Timeline.gutter - 4, this.height);
    c.clip();
    for (const row of rows) {
      const y = row.top - shift + row.height / 2, {rank} = row;
      if (!row.isCompute) {
        c.font = '10px system-ui, "DejaVu Sans", sans-serif';
        c.fillStyle = Theme.color('soft');
        c.fillText(row.name, 34, y);
        continue;
      }
      const open = this.streams || this.openRanks.has(rank.index);
      c.font = '11px system-ui, "DejaVu Sans", sans-serif';
      c.fillStyle = Theme.color('soft');
      c.fillText(open ? '▾' : '▸', 6, y);
      c.fillStyle = Theme.color('ink');
      const times = rank.represented > 1 ? ` ×${rank.represented}` : '';
      c.fillText(`stage ${rank.program.stage}  rank ${rank.rank}${times}`, 20, y);
      if (row.hidden) {
        c.fillStyle = Theme.color('accent');
        const text = this.openStages.has(rank.program.stage) ? 'fold' : `+${row.hidden}`;
        c.textAlign = 'right';
        c.fillText(text, Timeline.gutter - 8, y);
        c.textAlign = 'left';
      }
    }
    c.restore();
  }

  paintAxis(x) {
    const {context: c, width} = this, [from, to] = x.domain();
    c.fillStyle = Theme.color('paper');
    c.fillRect(0, 0, width, Timeline.axis);
    const seconds = d3.scaleLinear().domain([from / 1e12, to / 1e12]).range(x.range());
    const ticks = seconds.ticks(Math.max(3, (width - Timeline.gutter) / 110));
    const step = ticks.length > 1 ? ticks[1] - ticks[0] : 1;
    c.font = '11px system-ui, "DejaVu Sans", sans-serif';
    c.textBaseline = 'middle';
    c.textAlign = 'left';
    for (const tick of ticks) {
      const at = seconds(tick);
      if (at < Timeline.gutter - 1) continue;
      c.fillStyle = Theme.color('line');
      c.fillRect(at, 0, 1, Timeline.axis);
      const text = Format.moment(tick, step);
      if (at + 4 + c.measureText(text).width > width) continue;
      c.fillStyle = Theme.color('soft');
      c.fillText(text, at + 4, 10);
    }
    c.fillStyle = Theme.color('line');
    c.fillRect(0, Timeline.axis - 1, width, 1);
    c.fillRect(Timeline.gutter - 1, 0, 1, this.height);
  }

  // ---- the critical path ----

  highlight(path) {
    this.path = path;
    this.draw();
  }

  // The row that shows a span, or one that stands in while its own is folded away: the compute
  // stream of its rank, or of the first rank of its stage.
  rowsForPath() {
    const exact = new Map(), compute = new Map(), stage = new Map();
    for (const row of this.rows) {
      const key = row.rank.index * 8 + row.stream;
      if (!exact.has(key)) exact.set(key, row);
      if (!row.isCompute) continue;
      compute.set(row.rank.index, row);
      if (!stage.has(row.rank.program)) stage.set(row.rank.program, row);
    }
    return span => {
      const rank = this.trace.ranks[this.trace.rankOf[span]];
      const stream = rank.program.stream[this.trace.op[span]];
      return exact.get(rank.index * 8 + stream) || compute.get(rank.index) ||
          stage.get(rank.program);
    };
  }

  paintPath(x, from, to, shift) {
    const {context: c, trace} = this, rowOf = this.rowsForPath();
    c.fillStyle = Theme.color('paper');
    c.globalAlpha = 0.72;
    c.fillRect(Timeline.gutter, Timeline.axis, this.width, this.height);
    c.globalAlpha = 1;
    c.strokeStyle = Theme.color('contrast');
    c.lineWidth = 1.2;
    c.beginPath();
    const bars = [];
    let next = null;  // what waited for the span
    for (const span of this.path) {
      const row = rowOf(span), y = row.top - shift + row.height / 2;
      const x0 = x(trace.start[span]), x1 = x(trace.finish[span]);
      if (next && next.y !== y && x1 >= Timeline.gutter && next.x <= this.width) {
        c.moveTo(Math.min(x1, next.x), y);
        c.lineTo(next.x, next.y);
      }
      next = {x: x0, y};
      if (trace.finish[span] < from || trace.start[span] > to) continue;
      const isExact = row.stream === row.rank.program.stream[trace.op[span]];
      const height = isExact ? row.height : 6;
      bars.push([x0, row.top - shift + (row.height - height), Math.max(1, x1 - x0), height,
                 trace.category[span]]);
    }
    for (const [left, top, width, height, category] of bars) {
      c.fillStyle = this.flat[category];
      c.fillRect(left, top, width, height);
    }
    c.stroke();
    c.lineWidth = 1;
    for (const [left, top, width, height] of bars)
      if (width > 4) c.strokeRect(left + 0.5, top + 0.5, width - 1, height - 1);
  }

  // ---- pointer and keys ----

  rowAt(y) {
    const at = y + this.root.scrollTop;
    return y < Timeline.axis ? undefined
                             : this.rows.find(row => at >= row.top && at < row.top + row.height);
  }

  // What is under a point of the canvas: the row, and a span or -1 - the number of a pause.
  itemAt(px, py) {
    const row = this.rowAt(py);
    if (!row || px < Timeline.gutter) return {row};
    const x = this.scale(), {items} = row, near = x.invert(px + 1.5), time = x.invert(px);
    const i = this.firstAfter(items, time);
    if (i >= items.span.length || items.start[i] > near) return {row};
    return {row, item: items.span[i]};
  }

  pointed(event) {
    const [px, py] = d3.mouse(this.canvas), {row, item} = this.itemAt(px, py);
    this.canvas.style.cursor = row && px < Timeline.gutter ? 'pointer' : '';
    if (item === undefined) return Page.hideTip();
    Page.showTip(event, ...this.describe(row.rank, item));
  }

  describe(rank, item) {
    return item >= 0 ? this.describeSpan(item) : this.describePause(rank, -1 - item);
  }

  describeSpan(span) {
    const {trace} = this, rank = trace.ranks[trace.rankOf[span]];
    const {program} = rank, op = trace.op[span];
    const lines = [['what', Theme.nameOf(trace.categories[trace.category[span]])]];
    if (program.kind && program.kind[op] === Trace.kCollective)
      lines.push(['purpose', trace.data.purposes[program.purpose[op]]]);
    lines.push(['rank', this.rankName(rank)], ['stream', trace.data.streams[program.stream[op]]]);
    lines.push(...this.times(trace.start[span], trace.finish[span]));
    if (program.bytes[op] > 0) lines.push(['bytes', Format.bytes(program.bytes[op])]);
    if (program.layers[op]) lines.push(['layers', program.layers[op]]);
    if (trace.communication[span] > 0)
      lines.push(['tensor communication', Format.picoseconds(trace.communication[span])]);
    if (trace.recompute[span] > 0)
      lines.push(['recompute', Format.picoseconds(trace.recompute[span])]);
    const awaited = trace.awaited[span];
    if (awaited >= 0) lines.push(['waited for', this.awaitedName(awaited, rank)]);
    else if (trace.data.programs[0].kind) lines.push(['waited for', 'nothing']);
    return [Trace.nameOf(trace, span), lines];
  }

  awaitedName(span, rank) {
    const {trace} = this, other = trace.ranks[trace.rankOf[span]];
    const where = other === rank ? '' : ` of rank ${other.rank} (stage ${other.program.stage})`;
    return `${Trace.nameOf(trace, span)}${where}, until ${Format.exact(trace.finish[span])}`;
  }

  describePause(rank, pause) {
    const {trace} = this, {idle} = rank, op = idle.awaited ? idle.awaited[pause] : -1;
    const lines = [['rank', this.rankName(rank)],
                   ...this.times(idle.start[pause], idle.finish[pause])];
    if (op >= 0) {
      lines.push(['waits for', rank.program.name[op]]);
      let span = rank.first;
      while (span < rank.end && trace.op[span] !== op) ++span;
      if (span < rank.end)
        lines.push(['which runs', `${Format.exact(trace.start[span])} to ` +
                    Format.exact(trace.finish[span])]);
      if (span < rank.end && trace.awaited[span] >= 0)
        lines.push(['after', this.awaitedName(trace.awaited[span], rank)]);
    }
    return [Theme.nameOf(idle.cause[pause]), lines];
  }

  rankName({rank, represented, program}) {
    const alike = represented > 1 ? `, for ${represented.toLocaleString('en')} alike` : '';
    return `${rank} (stage ${program.stage}${alike})`;
  }

  times(start, finish) {
    return [['from', Format.exact(start)], ['to', Format.exact(finish)],
            ['duration', Format.exact(finish - start)]];
  }

  clicked() {
    const [px, py] = d3.mouse(this.canvas), row = this.rowAt(py);
    if (!row || px >= Timeline.gutter || !row.isCompute) return;
    const isChip = row.hidden && px > Timeline.gutter - 46;
    const set = isChip ? this.openStages : this.openRanks;
    const key = isChip ? row.rank.program.stage : row.rank.index;
    if (!set.delete(key)) set.add(key);
    this.layOut();
  }

  key(event) {
    const actions = {
      ArrowLeft: () => this.moveBy(-0.15), ArrowRight: () => this.moveBy(0.15),
      '+': () => this.zoomBy(1.5), '=': () => this.zoomBy(1.5), '-': () => this.zoomBy(1 / 1.5),
      '0': () => this.show(0, this.end),
    };
    const action = event.ctrlKey || event.metaKey ? null : actions[event.key];
    if (!action) return;
    event.preventDefault();
    action();
  }

  // ---- moving ----

  // A plain wheel scrolls the page, and a double click on a name folds twice.
  isZoom(event) {
    if (event.type === 'wheel') return event.ctrlKey || event.metaKey;
    if (event.type === 'dblclick' && d3.mouse(this.canvas)[0] < Timeline.gutter) return false;
    return !event.button;
  }

  zoomed() {
    this.transform = d3.event.transform;
    this.draw();
    this.placeBrush();
    if (this.partner) this.partner.follow(this.transform);
  }
  follow(transform) {
    if (transform.k === this.transform.k && transform.x === this.transform.x) return;
    d3.select(this.canvas).call(this.zoom.transform, transform);
  }
  zoomBy(factor) { this.zoom.scaleBy(d3.select(this.canvas), factor); }
  moveBy(part) {
    const [from, to] = this.view(), shift = part * (to - from);
    const low = Math.min(Math.max(0, from + shift), this.end - (to - from));
    this.show(low, low + to - from);
  }
  // Picoseconds.
  show(from, to) {
    const [left, right] = this.base.range();
    const k = Math.min(this.zoom.scaleExtent()[1],
                       (right - left) / (this.base(to) - this.base(from)));
    const transform = d3.zoomIdentity.translate(left - k * this.base(from), 0).scale(k);
    d3.select(this.canvas).call(this.zoom.transform, transform);
  }
  showStreams(all) { this.streams = all; this.layOut(); }
  showRanks(all) {
    this.openStages = new Set(all ? this.byStage.map(([stage]) => stage) : []);
    this.layOut();
  }

  // ---- overview ----

  // How many of the GPUs compute, over time, and the part of the step that is in view.
  makeOverview(root) {
    const isCompute = (program, op) => !program.kind || program.kind[op] === Trace.kCompute;
    const bins = 600, {trace} = this, busy = new Float64Array(bins);
    const width = this.end / bins || 1;
    for (const rank of trace.ranks)
      for (let i = rank.first; i < rank.end; ++i) {
        const op = trace.op[i];
        if (rank.program.stream[op] !== 0 || !isCompute(rank.program, op)) continue;
        const last = Math.min(bins - 1, Math.floor(trace.finish[i] / width));
        for (let bin = Math.floor(trace.start[i] / width); bin <= last; ++bin)
          busy[bin] += rank.represented * Math.max(0, Math.min(trace.finish[i], (bin + 1) * width) -
                                                      Math.max(trace.start[i], bin * width));
      }
    const all = d3.sum(trace.ranks, rank => rank.represented) * width;
    this.busy = Array.from(busy, time => time / all);
    this.overview = d3.select(root).append('svg').attr('role', 'img')
        .attr('aria-label', 'Share of GPUs that compute, over the step');
    this.overview.append('text').attr('class', 'soft').attr('x', 6).attr('y', 18)
        .text('GPUs computing');
    this.overview.append('text').attr('class', 'soft').attr('x', 6).attr('y', 34)
        .text('mark a range to zoom');
    this.overviewArea = this.overview.append('path').attr('class', 'busy-area');
    this.overview.append('rect').attr('class', 'frame').attr('y', 2).attr('height', 38);
    this.brush = d3.brushX().on('brush end', () => this.brushed());
    this.brushRoot = this.overview.append('g').attr('class', 'brush');
  }

  drawOverview() {
    if (!this.base) return;
    const x = d3.scaleLinear().domain([0, this.busy.length]).range(this.base.range());
    const points = this.busy.concat(this.busy[this.busy.length - 1]);
    this.overviewArea.attr('d', d3.area().x((_, i) => x(i)).y0(40).y1(value => 40 - 36 * value)
        .curve(d3.curveStepAfter)(points));
  }

  sizeOverview() {
    const [left, right] = this.base.range();
    this.overview.select('rect.frame').attr('x', left).attr('width', right - left);
    this.brush.extent([[left, 2], [right, 40]]);
    this.brushRoot.call(this.brush);
    this.drawOverview();
    this.placeBrush();
  }

  brushed() {
    const {selection, sourceEvent} = d3.event;
    if (!sourceEvent || !selection) return;  // moved by a zoom
    if (sourceEvent.type === 'zoom') return;
    const [from, to] = selection.map(this.base.invert);
    if (to > from) this.show(from, to);
  }

  placeBrush() {
    const [from, to] = this.view(), whole = this.transform.k <= 1.0001;
    // A brush that is being dragged reports to us, not the other way round.
    if (d3.event && d3.event.type !== 'zoom' && d3.event.sourceEvent) return;
    this.brushRoot.call(this.brush.move, whole ? null : [this.base(from), this.base(to)]);
  }
}
