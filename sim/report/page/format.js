// Numbers as people read them: four significant digits, the same as in the terminal report.
'use strict';

const Format = (() => {
  const digits = value => String(Number(value.toPrecision(4)));

  function scaled(value, prefixes, base, unit) {
    let prefix = base;
    for (; Math.abs(value) >= 999.95 && prefix + 1 < prefixes.length; ++prefix) value /= 1000;
    for (; value !== 0 && Math.abs(value) < 0.99995 && prefix > 0; --prefix) value *= 1000;
    const gap = prefixes[prefix] === '' && unit === '' ? '' : ' ';
    return digits(value) + gap + prefixes[prefix] + unit;
  }

  const decimal = ['', 'k', 'M', 'G', 'T', 'P', 'E'];
  const unit = (value, name) => scaled(value, decimal, 0, name);
  const count = value => scaled(value, ['', 'k', 'M', 'B', 'T'], 0, '');

  function time(seconds) {
    if (seconds >= 2 * 86400) return digits(seconds / 86400) + ' days';
    if (seconds >= 2 * 3600) return digits(seconds / 3600) + ' h';
    if (seconds >= 600) return digits(seconds / 60) + ' min';
    return scaled(seconds, ['n', 'µ', 'm', ''], 3, 's');
  }
  // From the page's picoseconds.
  const picoseconds = ps => time(ps / 1e12);

  // A moment as exactly as anybody wants to read it: six digits after the point of its unit.
  function exact(ps) {
    const [factor, name] = ps >= 999.9999995e9 ? [1e-12, 's'] : ps >= 999.9999995e6 ? [1e-9, 'ms']
                                                                           : [1e-6, 'µs'];
    return Number((ps * factor).toFixed(6)) + ' ' + name;
  }

  // A moment of the step, with as many digits as tell `resolution` apart.
  function moment(seconds, resolution) {
    const [factor, name] = resolution < 1e-4 ? [1e6, 'µs']
                                             : resolution < 0.1 ? [1e3, 'ms'] : [1, 's'];
    const places = Math.max(0, Math.min(6, Math.ceil(-Math.log10(resolution * factor) - 1e-9)));
    return (seconds * factor).toFixed(places) + ' ' + name;
  }

  const share = part => (100 * part).toFixed(1) + ' %';

  function usd(value) {
    if (value >= 1e5) return '$' + count(value);
    if (value >= 1) return '$' + value.toFixed(2);
    return '$' + digits(value);
  }

  const bytes = value => unit(value, 'B');
  const rate = value => unit(value, 'B/s');
  const words = key => key.replace(/_/g, ' ');
  const plural = (n, word) => n.toLocaleString('en') + ' ' + word + (n === 1 ? '' : 's');

  return {bytes, count, exact, moment, picoseconds, plural, rate, share, time, unit, usd, words};
})();
