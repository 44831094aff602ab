// What the links carried: classes over time, and the busiest links.
'use strict';

const Network = (() => {
  const titles = {nvlink: 'NVLink', pcie: 'PCIe', nic: 'NIC ports', fabric: 'Fabric links'};
  const fill = kind => `var(--n-${kind})`;

  // Utilisation of a class by bin; the last bin may be cut short by the end of the step.
  function utilisation(activity, bin, end) {
    return activity.bytes.map((bytes, i) => {
      const width = Math.min(bin, end - i * bin);
      return width > bin * 1e-6 ? bytes / (activity.capacity * width) : 0;
    });
  }

  function classChart(root, activity, values, {bin, end, width}) {
    const height = 120, left = 46;
    const svg = d3.select(root).append('svg').attr('width', width).attr('height', height + 44);
    const x = d3.scaleLinear().domain([0, end]).range([left, width - 10]);
    const top = Math.max(1, d3.max(values));
    const y = d3.scaleLinear().domain([0, top]).range([height + 20, 20]);
    const mean = d3.sum(activity.bytes) / (activity.capacity * end);
    svg.append('text').attr('class', 'strong').attr('x', left).attr('y', 12)
        .text(titles[activity.class] || activity.class);
    svg.append('text').attr('class', 'soft').attr('x', width - 10).attr('y', 12)
        .attr('text-anchor', 'end')
        .text(`mean ${Format.share(mean)} of ${Format.rate(activity.capacity)}`);
    const points = values.map((value, i) => [i * bin, value]);
    points.push([end, values[values.length - 1]]);
    svg.append('path').style('fill', fill(activity.class)).attr('d', d3.area()
        .curve(d3.curveStepAfter).x(point => x(point[0]))
        .y0(y(0)).y1(point => y(point[1]))(points));
    Charts.axisLeft(svg, y, left, d3.format('.0%'), 4);
    Charts.axisBottom(svg, x, height + 20, Charts.timeTicks(end, 5), 5);
    svg.append('rect').attr('x', left).attr('y', 20).attr('width', width - 10 - left)
        .attr('height', height).attr('fill', 'transparent')
        .on('mousemove', function() {
          const at = Math.floor(x.invert(d3.mouse(this)[0]) / bin);
          const i = Math.max(0, Math.min(values.length - 1, at));
          Page.showTip(d3.event, `${titles[activity.class]} at ${Format.time(i * bin)}`,
                       [['utilisation', Format.share(values[i])],
                        ['carried', Format.bytes(activity.bytes[i])],
                        ['in', Format.time(Math.min(bin, end - i * bin))]]);
        }).on('mouseleave', Page.hideTip);
  }

  function overTime(data) {
    const root = document.getElementById('network-chart'), end = data.step / 1e12;
    const {activity, bin_s: bin} = data.network;
    const note = document.getElementById('network-note');
    if (!activity.length || bin <= 0) {
      note.textContent = 'No traffic over time was recorded for this step.';
      return;
    }
    note.textContent = 'Bytes carried by all links of a class that the step uses, both ' +
        'directions, as a part of what they could carry together.';
    const values = activity.map(one => utilisation(one, bin, end));
    Charts.onResize(root, () => {
      const columns = Math.max(1, Math.min(activity.length, Math.floor(root.clientWidth / 430)));
      const width = Math.floor((root.clientWidth - 12 * (columns - 1)) / columns);
      root.textContent = '';
      root.style.gridTemplateColumns = `repeat(${columns}, ${width}px)`;
      activity.forEach((one, i) =>
        classChart(root.appendChild(Page.element('div')), one, values[i], {bin, end, width}));
    });
  }

  function meter(link) {
    const cell = Page.element('span');
    const box = cell.appendChild(Page.element('span', undefined, 'meter'));
    const inner = box.appendChild(Page.element('span'));
    inner.style.width = Math.min(100, 100 * link.utilisation) + '%';
    inner.style.background = fill(link.class);
    cell.appendChild(document.createTextNode(Format.share(link.utilisation)));
    return cell;
  }

  function busiest(data) {
    const root = document.getElementById('network-links'), links = data.network.busiest;
    if (!links.length) {
      root.appendChild(Page.element('p', 'No link carried anything.', 'note'));
      return;
    }
    Page.table(root, [['link', false], ['class', false], ['bandwidth', true], ['carried', true],
                      ['stands for', true], ['mean utilisation', false]],
               links.map(link => [link.name, titles[link.class] || link.class,
                                  Format.rate(link.bandwidth), Format.bytes(link.bytes),
                                  Format.plural(link.represented, 'link'), meter(link)]));
  }

  return {titles, start(data) { overTime(data); busiest(data); }};
})();
