// The trace as arrays: decodes the columns of the data and walks the critical path.
'use strict';

const Trace = (() => {
  const kCompute = 0, kCollective = 1;

  // The category under which an op is coloured.
  function categoryOf(data, program, op) {
    if (program.categoryKey) return program.categoryKey[op];
    const kind = program.kind[op], purpose = data.purposes[program.purpose[op]];
    if (kind === kCollective) return data.collectives[program.collective[op]];
    return purpose.replace(/ /g, '_');
  }

  function sums(differences) {
    const values = new Float64Array(differences.length);
    let value = 0;
    for (let i = 0; i < values.length; ++i) values[i] = value += differences[i];
    return values;
  }

  // Spans of all ranks in arrays that go on from rank to rank; ranks know where theirs begin.
  function decode(data) {
    const categories = Object.keys(Theme.work).concat(Object.keys(Theme.idle));
    const number = new Map(categories.map((key, i) => [key, i]));
    // A measured trace may know kinds of work that the page does not.
    const known = key => number.has(key) ? number.get(key) : number.get('unknown');
    const programs = data.programs.map(program => Object.assign({}, program, {
      category: program.name.map(
          (_, op) => known(categoryOf(data, program, op))),
    }));
    const total = d3.sum(data.ranks, rank => rank.op.length);
    const trace = {
      data, categories, programs, end: data.step, total,
      op: new Int32Array(total), start: new Float64Array(total), finish: new Float64Array(total),
      communication: new Float64Array(total), recompute: new Float64Array(total),
      awaited: new Int32Array(total), category: new Uint8Array(total),
      rankOf: new Int32Array(total), ranks: [],
    };
    // By number in report.html, by name in compare.html.
    const nameOfCause = cause => data.idle_causes ? data.idle_causes[cause] : cause;
    let next = 0;
    data.ranks.forEach((raw, index) => {
      const program = programs[raw.program], starts = sums(raw.start), first = next;
      for (let i = 0; i < raw.op.length; ++i, ++next) {
        trace.op[next] = raw.op[i];
        trace.start[next] = starts[i];
        trace.finish[next] = starts[i] + raw.duration[i];
        trace.communication[next] = raw.communication[i];
        trace.recompute[next] = raw.recompute[i];
        trace.awaited[next] = raw.awaited ? raw.awaited[i] : -1;
        trace.category[next] = program.category[raw.op[i]];
        trace.rankOf[next] = index;
      }
      const pauses = sums(raw.idle.start);
      trace.ranks.push({
        index, rank: raw.rank, represented: raw.represented, program, first, end: next,
        idle: {
          start: pauses,
          finish: pauses.map((start, i) => start + raw.idle.duration[i]),
          cause: raw.idle.cause.map(nameOfCause),
          category: raw.idle.cause.map(cause => known(nameOfCause(cause))),
          awaited: raw.idle.awaited,
        },
      });
    });
    return trace;
  }

  const nameOf = (trace, span) => trace.ranks[trace.rankOf[span]].program.name[trace.op[span]];

  // The spans of the chain that the end of the step waited for, from the last to the first.
  function criticalPath(trace) {
    const path = [];
    let at = -1;
    for (let i = 0; i < trace.total; ++i)
      if (at < 0 || trace.finish[i] > trace.finish[at]) at = i;
    const seen = new Set();
    for (; at >= 0 && !seen.has(at); at = trace.awaited[at]) {
      seen.add(at);
      path.push(at);
    }
    return path;
  }

  // How long the path spends in each category; sums to the step time. A send and its receive are
  // one transfer, so time counts once.
  function timeOnPath(trace, path) {
    const time = new Map();
    const add = (key, ps) => { if (ps > 0) time.set(key, (time.get(key) || 0) + ps); };
    let now = trace.end;
    for (const span of path) {
      add('unknown', now - trace.finish[span]);
      now = Math.min(now, trace.finish[span]);
      const all = Math.max(0, now - trace.start[span]);
      const communication = Math.min(all, trace.communication[span]);
      const recompute = Math.min(all - communication, trace.recompute[span]);
      add('tensor', communication);
      add('recompute', recompute);
      add(trace.categories[trace.category[span]], all - communication - recompute);
      now = Math.min(now, trace.start[span]);
    }
    add('unknown', now);
    return time;
  }

  return {decode, nameOf, criticalPath, timeOnPath, kCompute, kCollective};
})();
