// Light and dark, the colours of categories, and the little helpers to make elements. Text enters
// the page only as textContent: a model may be named like an element.
'use strict';

const Theme = (() => {
  // What occupies a stream, in the order of legends and of stacked columns.
  const work = {
    forward: 'forward',
    backward: 'backward',
    input_gradient: 'input gradient',
    weight_gradient: 'weight gradient',
    recompute: 'recompute',
    optimizer: 'optimizer',
    kernels: 'kernel of a recording',
    tensor: 'tensor-parallel collective inside compute',
    all_reduce: 'all-reduce',
    reduce_scatter: 'reduce-scatter',
    all_gather: 'all-gather',
    all_to_all: 'all-to-all',
    broadcast: 'broadcast',
    activation: 'activation transfer',
    gradient: 'gradient transfer',
    message: 'message of a recording',
  };
  // Why a compute stream idles. Hatched.
  const idle = {
    pipeline_transfer: 'waits for a message on its way',
    data_communication: 'waits for a data-parallel collective',
    other_communication: 'waits for another collective',
    late_sender: 'bubble: another stage has not sent yet',
    late_member: 'bubble: a straggler has not joined',
    warm_up: 'bubble: warm-up',
    drain: 'bubble: drain',
    unknown: 'idle, cause not recorded',
  };
  const listeners = [];
  const system = window.matchMedia('(prefers-color-scheme: dark)');
  let colors = {};

  function apply(name) {
    document.documentElement.dataset.theme = name;
    const button = document.getElementById('theme');
    button.textContent = name === 'dark' ? 'Light' : 'Dark';
    const style = getComputedStyle(document.documentElement);
    const read = property => style.getPropertyValue(property).trim();
    colors = {paper: read('--paper'), ink: read('--ink'), soft: read('--soft'),
              line: read('--line'), contrast: read('--contrast'), accent: read('--accent'),
              low: read('--load-low'), high: read('--load-high')};
    for (const key of Object.keys(work)) colors[key] = read('--c-' + key);
    for (const key of Object.keys(idle)) colors['idle:' + key] = read('--i-' + key);
    for (const listener of listeners) listener();
  }
  const current = () => document.documentElement.dataset.theme;

  function start() {
    apply(system.matches ? 'dark' : 'light');
    system.addEventListener('change', () => apply(system.matches ? 'dark' : 'light'));
    document.getElementById('theme').addEventListener(
        'click', () => apply(current() === 'dark' ? 'light' : 'dark'));
    // Paper is white.
    let before = 'light';
    window.addEventListener('beforeprint', () => { before = current(); apply('light'); });
    window.addEventListener('afterprint', () => apply(before));
  }

  // Hatching of idle time, by direction: bubbles rise, waiting for transfers falls.
  const rises = key => !key.endsWith('communication') && key !== 'pipeline_transfer';

  function hatchTile(key) {
    const size = 8, tile = document.createElement('canvas');
    const ratio = window.devicePixelRatio || 1;
    tile.width = tile.height = Math.round(size * ratio);
    const c = tile.getContext('2d');
    c.scale(tile.width / size, tile.height / size);
    c.fillStyle = colors['idle:' + key];
    c.globalAlpha = 0.22;
    c.fillRect(0, 0, size, size);
    c.globalAlpha = 1;
    c.strokeStyle = colors['idle:' + key];
    c.lineWidth = 1.6;
    c.beginPath();
    for (const shift of [-size, 0, size]) {
      c.moveTo(shift, rises(key) ? size : 0);
      c.lineTo(shift + size, rises(key) ? 0 : size);
    }
    c.stroke();
    return tile;
  }

  // The lines of the hatching inside a rectangle, for SVG. A pattern would do on a screen, but
  // browsers print patterns as large bitmaps.
  function hatchLines(key, x, y, width, height) {
    const lines = [];
    for (let at = -height; at < width; at += 8) {
      const from = Math.max(0, at), to = Math.min(width, at + height);
      const down = [from - at, to - at];
      const ends = rises(key) ? down.map(depth => height - depth) : down;
      lines.push(`M${x + from},${y + ends[0]}L${x + to},${y + ends[1]}`);
    }
    return lines.join('');
  }

  // How a category looks: hatched with the lines of a cause, or plain.
  const look = key => key in idle ? {color: `var(--i-${key})`, hatch: key}
                                  : {color: `var(--c-${key})`, hatch: null};
  // Fills rectangles of an SVG; a datum has {color, hatch}.
  function fill(rectangles) {
    rectangles.style('fill', datum => datum.color)
        .attr('fill-opacity', datum => datum.hatch ? 0.22 : null)
        .filter(datum => datum.hatch).each(function(datum) {
          const [x, y, width, height] = ['x', 'y', 'width', 'height'].map(
              name => Number(this.getAttribute(name) || 0));
          d3.select(this.parentNode).append('path').attr('class', 'hatching')
              .attr('d', hatchLines(datum.hatch, x, y, width, height))
              .style('stroke', datum.color);
        });
  }
  const nameOf = key => idle[key] || work[key] || Format.words(key);

  return {
    work, idle, start, hatchTile, look, fill, nameOf,
    color: key => colors[key],
    onChange: listener => listeners.push(listener),
  };
})();

const Page = (() => {
  function element(tag, text, className) {
    const made = document.createElement(tag);
    if (text !== undefined) made.textContent = text;
    if (className) made.className = className;
    return made;
  }

  function swatch(look) {
    const svg = d3.create('svg').attr('width', 22).attr('height', 12);
    Theme.fill(svg.append('rect').datum(look).attr('width', 22).attr('height', 12).attr('rx', 2));
    return svg.node();
  }
  // items: [{color, hatch, name}, ...]
  function legend(root, items) {
    root.textContent = '';
    for (const item of items) {
      const shown = root.appendChild(element('span', undefined, 'item'));
      shown.appendChild(swatch(item));
      shown.appendChild(element('span', item.name));
    }
  }

  // A title and [name, value] lines beside the pointer.
  function showTip(event, head, lines) {
    const tip = document.getElementById('tip');
    tip.textContent = '';
    tip.appendChild(element('div', head, 'head'));
    const table = tip.appendChild(element('table'));
    for (const [name, value] of lines) {
      const row = table.insertRow();
      row.insertCell().textContent = name;
      row.insertCell().textContent = value;
    }
    tip.hidden = false;
    const {width, height} = tip.getBoundingClientRect();
    const left = event.clientX + 16 + width > innerWidth ? event.clientX - 12 - width
                                                         : event.clientX + 16;
    const top = Math.min(event.clientY + 14, innerHeight - height - 6);
    tip.style.left = Math.max(4, left) + 'px';
    tip.style.top = Math.max(4, top) + 'px';
  }
  const hideTip = () => { document.getElementById('tip').hidden = true; };
  // For d3 selections: lines(datum) -> [head, [[name, value], ...]]
  function tips(selection, lines) {
    selection.on('mousemove', datum => showTip(d3.event, ...lines(datum)))
        .on('mouseleave', hideTip);
  }

  // head: [[name, isNumber], ...]; rows: lists of text or elements
  function table(root, head, rows) {
    const made = element('table', undefined, 'data');
    const top = made.createTHead().insertRow();
    for (const [name, isNumber] of head)
      top.appendChild(element('th', name, isNumber ? 'number' : ''));
    const body = made.createTBody();
    for (const cells of rows) {
      const row = body.insertRow();
      cells.forEach((cell, i) => {
        const td = row.insertCell();
        if (head[i][1]) td.className = 'number';
        if (cell instanceof Node) td.appendChild(cell);
        else td.textContent = cell;
      });
    }
    root.textContent = '';
    root.appendChild(made);
    return made;
  }

  return {element, legend, showTip, hideTip, tips, table};
})();
