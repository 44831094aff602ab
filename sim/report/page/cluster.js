// The cluster as a drawing: some nodes that stand for all, with GPUs coloured by how much they
// compute and links by how much they carry.
'use strict';

const ClusterChart = (() => {
  // Networks are mostly idle on average: the root tells small loads apart.
  const load = d3.scaleSqrt().domain([0, 1]).clamp(true);
  const shade = part => d3.interpolateLab(Theme.color('low'), Theme.color('high'))(load(part));
  const inkOn = part => d3.lab(shade(part)).l > 58 ? '#10151b' : '#ffffff';

  // A parameter of a fabric or an interconnect as its YAML would say it.
  function parameterText({name, kind, values}) {
    const one = {rate: Format.rate, time: Format.time, size: Format.bytes,
                 times: Format.time, sizes: Format.bytes,
                 flag: value => value ? 'yes' : 'no'}[kind] || String;
    return `${Format.words(name)} ${values.map(one).join(' × ')}`;
  }
  // Without what an optional parameter leaves unused.
  const given = family => family.parameters.filter(
      one => one.kind === 'flag' || one.values.some(value => value !== 0));
  const familyText = family => [family.family].concat(given(family).map(parameterText)).join(', ');

  // The two directions of a cable as one: gpu3.up and gpu3.down.
  function cables(links) {
    const byName = new Map();
    for (const link of links) {
      const name = link.name.replace(/\.(up|down)$/, '');
      const known = byName.get(name);
      if (known) known.utilisation = Math.max(known.utilisation, link.utilisation);
      else byName.set(name, {...link, name});
    }
    return Array.from(byName.values());
  }

  function box(root, {x, y, width, height, part, lines, tip}) {
    const group = root.append('g');
    group.append('rect').attr('x', x).attr('y', y).attr('width', width).attr('height', height)
        .attr('rx', 4).attr('fill', shade(part)).style('stroke', 'var(--line)');
    lines.forEach((text, i) => group.append('text').attr('x', x + width / 2)
        .attr('y', y + height / 2 + 4 + (i - (lines.length - 1) / 2) * 13)
        .attr('text-anchor', 'middle').style('fill', inkOn(part)).text(text));
    Page.tips(group.datum(tip), datum => datum);
    return group;
  }

  function drawNode(svg, data, node, {x, y, width}) {
    const type = data.cluster.types[node.type], count = type.gpus;
    const perRow = Math.min(count, 4), cell = (width - 24) / perRow;
    const rows = Math.ceil(count / perRow), all = cables(node.links);
    const nics = all.filter(link => link.class === 'nic').slice(0, 16);
    const inside = all.filter(link => link.class === 'nvlink' || link.class === 'pcie');
    const byName = new Map(inside.map(link => [link.name, link]));
    svg.append('text').attr('class', 'strong').attr('x', x + 10).attr('y', y + 16)
        .text(`node ${node.node}`);
    svg.append('text').attr('class', 'soft').attr('x', x + width - 10).attr('y', y + 16)
        .attr('text-anchor', 'end').text(stagesOf(node));
    let top = y + 26;
    const shownNics = nics.length || type.nics;
    if (shownNics) {
      const w = (width - 20) / shownNics;
      const rate = nics.length ? nics[0].bandwidth : type.nic_bandwidth;
      svg.append('text').attr('class', 'soft').attr('x', x + width / 2).attr('y', top + 8)
          .attr('text-anchor', 'middle')
          .text(`${Format.plural(shownNics, 'NIC')}, ${Format.rate(rate)} each way`);
      top += 14;
      d3.range(shownNics).forEach(i => {
        const nic = nics[i] || {name: `nic${i}`, utilisation: 0, bandwidth: type.nic_bandwidth};
        box(svg, {x: x + 10 + i * w + 1, y: top, width: w - 2, height: 20, part: nic.utilisation,
                  lines: w > 40 ? [nic.name] : [],
                  tip: [`node ${node.node} ${nic.name}`,
                        [['bandwidth', Format.rate(nic.bandwidth) + ' each way'],
                         ['mean utilisation', Format.share(nic.utilisation)]]]});
      });
      top += 28;
    }
    const text = Array.from(new Set(inside.map(link => Network.titles[link.class])));
    const rates = d3.extent(inside, link => link.bandwidth);
    const mean = inside.length ? d3.mean(inside, link => link.utilisation) : 0;
    if (inside.length) {
      const range = rates[0] === rates[1] ? Format.rate(rates[0])
                                          : `${Format.rate(rates[0])} to ${Format.rate(rates[1])}`;
      box(svg, {x: x + 10, y: top, width: width - 20, height: 20, part: mean,
                lines: [`${text.join(' and ')}, ${range} each way`],
                tip: [`inside node ${node.node}`,
                      [['interconnect', familyText(type.interconnect)],
                       ['mean utilisation', Format.share(mean)],
                       ['busiest', Format.share(d3.max(inside, link => link.utilisation))]]]});
      top += 28;
    }
    node.gpus.forEach((gpu, i) => {
      const link = byName.get(`gpu${i}`);
      box(svg, {x: x + 12 + (i % perRow) * cell + 1, y: top + Math.floor(i / perRow) * 42,
                width: cell - 2, height: 38, part: gpu.computing,
                lines: cell > 66 ? [`rank ${gpu.rank}`, Format.share(gpu.computing)]
                                 : cell > 40 ? [String(gpu.rank), Format.share(gpu.computing)] : [],
                tip: [`rank ${gpu.rank}, stage ${gpu.stage}`,
                      [['GPU', type.gpu], ['memory', Format.bytes(type.gpu_memory)],
                       ['computes', Format.share(gpu.computing) + ' of the step']].concat(
                        link ? [['its link', `${Format.rate(link.bandwidth)}, ` +
                                 Format.share(link.utilisation) + ' used']] : [])]});
    });
    const height = top - y + rows * 42 + 6;
    svg.insert('rect', ':first-child').attr('class', 'frame').attr('x', x).attr('y', y)
        .attr('width', width).attr('height', height).attr('rx', 6);
    return height;
  }

  function stagesOf(node) {
    const [low, high] = d3.extent(node.gpus, gpu => gpu.stage);
    if (low === undefined) return 'unused';
    return low === high ? `stage ${low}` : `stages ${low} to ${high}`;
  }

  function drawFabric(svg, data, {x, y, width}) {
    const {cluster, network} = data, height = 52;
    const fabric = network.classes.find(one => one.class === 'fabric');
    const nic = network.classes.find(one => one.class === 'nic');
    const what = fabric || nic, mean = what ? what.mean : 0;
    const speed = what ? (what.slowest === what.fastest ? Format.rate(what.slowest)
        : `${Format.rate(what.slowest)} to ${Format.rate(what.fastest)}`) : '';
    const lines = [familyText(cluster.fabric)];
    if (fabric)
      lines.push(`${fabric.links.toLocaleString('en')} links in use of ${speed}, mean load ` +
                 `${Format.share(fabric.mean)}, busiest ${Format.share(fabric.busiest)}`);
    else if (nic) lines.push(`no link of its own is in use; ports of ${speed}`);
    box(svg, {x, y, width, height, part: mean, lines,
              tip: ['fabric', given(cluster.fabric)
                  .map(one => [Format.words(one.name), parameterText(one)
                      .slice(Format.words(one.name).length + 1)])
                  .concat([['source', cluster.fabric.source]])]});
    return height;
  }

  function draw(root, data) {
    root.textContent = '';
    const {cluster} = data, shown = cluster.shown, width = root.clientWidth;
    const svg = d3.select(root).append('svg').attr('width', width).attr('role', 'img')
        .attr('aria-label', 'The nodes, links and fabric of the cluster');
    const rest = cluster.nodes_used - shown.length, side = rest > 0 ? 130 : 0, gap = 14;
    const nodeWidth = Math.min(430, (width - side - gap * shown.length) / shown.length);
    const used = nodeWidth * shown.length + gap * (shown.length - 1) + side;
    let top = 0;
    if (cluster.fabric.family) {
      top = drawFabric(svg, data, {x: 0, y: 0, width: Math.min(width, Math.max(used, 640))}) + 26;
      shown.forEach((_, i) => svg.append('line').style('stroke', 'var(--soft)')
          .attr('x1', i * (nodeWidth + gap) + nodeWidth / 2)
          .attr('x2', i * (nodeWidth + gap) + nodeWidth / 2).attr('y1', top - 26).attr('y2', top));
    }
    const heights = shown.map((node, i) => drawNode(
        svg, data, node, {x: i * (nodeWidth + gap), y: top, width: nodeWidth}));
    if (rest > 0) {
      const x = shown.length * (nodeWidth + gap) + 8;
      svg.append('text').attr('class', 'strong').attr('x', x).attr('y', top + 40)
          .text(`… and ${Format.plural(rest, 'node')}`);
      svg.append('text').attr('class', 'soft').attr('x', x).attr('y', top + 58).text('like these');
    }
    svg.attr('height', top + d3.max(heights) + 4);
  }

  function legend() {
    const percent = d3.format('.0%');
    const items = [0, 0.02, 0.1, 0.25, 0.5, 1].map(
        part => ({color: shade(part), name: percent(part)}));
    Page.legend(document.getElementById('cluster-legend'), items);
    const note = Page.element('span', 'GPUs: part of the step that they compute. ' +
        'Links: mean utilisation of the busier direction.');
    document.getElementById('cluster-legend').appendChild(note);
  }

  function start(data) {
    const {cluster} = data, root = document.getElementById('cluster-chart');
    const redraw = () => {
      if (root.clientWidth >= 320) draw(root, data);
      legend();
    };
    Charts.onResize(root, redraw);
    Theme.onChange(redraw);
    legend();
    const types = cluster.types.filter(type => type.used > 0)
        .map(type => `${type.used.toLocaleString('en')} × ${type.name}`);
    document.getElementById('cluster-note').textContent =
        `${cluster.name}: the job uses ${Format.plural(cluster.nodes_used, 'node')} of ` +
        `${cluster.nodes.toLocaleString('en')}: ${types.join(', ')}.`;
  }

  return {start};
})();
