'use strict';
(() => {
  const $ = (id) => document.getElementById(id);
  const root = document.documentElement;
  const prefers = matchMedia('(prefers-color-scheme: dark)');
  let onTheme = () => {};
  const setTheme = (dark) => { root.dataset.theme = dark ? 'dark' : 'light'; onTheme(); };
  setTheme(prefers.matches);
  prefers.addEventListener('change', (event) => setTheme(event.matches));
  $('theme').addEventListener('click', () => setTheme(root.dataset.theme !== 'dark'));

  const data = JSON.parse($('data').textContent);
  if (!data) return;

  // Data: arrays in base64, sprite sheets as blobs, which are short to name.
  const bytes = (text) => Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  const floats = (text) => new Float32Array(bytes(text).buffer);
  const x = floats(data.x), y = floats(data.y), similarity = floats(data.similarity);
  const rows = new Int32Array(bytes(data.rows).buffer);
  const count = data.names.length, k = data.num_neighbours, cells = data.cells;
  const sheets = data.sheets.map((uri) => URL.createObjectURL(new Blob([bytes(uri.split(',')[1])], { type: 'image/jpeg' })));
  data.sheets = null;
  for (const column of data.columns) column.values = new Float64Array(bytes(column.values).buffer);
  document.body.classList.toggle('coarse', data.side <= 48);

  const make = (tag, name, text) => {
    const element = document.createElement(tag);
    if (name) element.className = name;
    if (text !== undefined) element.textContent = text;
    return element;
  };
  const number = (value) => value.toLocaleString('en');
  const show = (element, image) => {
    const sheet = Math.floor(image / (cells * cells)), place = image % (cells * cells);
    const lines = Math.ceil(Math.min(cells * cells, count - sheet * cells * cells) / cells);
    element.style.backgroundImage = `url(${sheets[sheet]})`;
    element.style.backgroundSize = `${cells * 100}% ${lines * 100}%`;
    element.style.backgroundPosition = `${(place % cells) / (cells - 1) * 100}% ${lines > 1 ? Math.floor(place / cells) / (lines - 1) * 100 : 0}%`;
    element.dataset.image = image;
    return element;
  };
  const tile = (image, caption) => {
    const button = make('button', 'tile');
    button.type = 'button';
    button.title = data.names[image];
    button.append(show(make('div', 'thumb'), image));
    if (caption) button.append(make('span', '', caption));
    button.addEventListener('click', () => choose(image));
    return button;
  };
  const fill = (place, images) => { place.classList.add('tiles'); place.replaceChildren(...images.map((image) => tile(image))); return place; };
  // What a CSV of labels does not say of an image is '' or NaN.
  const valueText = ({ classes, values }, image) => (classes ? classes[values[image]] : isNaN(values[image]) ? '' : String(values[image]));
  const describe = (image) => data.columns.map((column) => `${column.name} ${valueText(column, image) || '–'}`).join(' · ');

  // Colours: Petroff 2021, "Accessible color sequences"; for scales points of cividis (Nunez et al. 2018).
  const classColours = ['#3f90da', '#ffa90e', '#bd1f01', '#94a4a2', '#832db6', '#a96b59', '#e76300', '#b9ac70', '#717581', '#92dadd'];
  const others = '#8b8f97', noValue = '#d67fa8';
  const scale = ['#00224e', '#123570', '#3b496c', '#575d6d', '#707173', '#8a8678', '#a59c74', '#c3b369', '#e1cc55', '#fee838'];
  const colourOf = (index) => classColours[index] || others;

  // The map.
  let plot = null, column = data.columns[0];
  const draw = () => {
    if (!plot) return;
    const { classes, low, high } = column;
    const step = (value) => (isNaN(value) ? scale.length : Math.min(scale.length - 1, Math.floor((value - low) / ((high - low) || 1) * scale.length)));
    const z = Float32Array.from(column.values, classes ? (value) => Math.min(value, classColours.length) : step);
    plot.set({ colorBy: 'valueA', pointColor: classes ? [...classColours.slice(0, classes.length), others] : [...scale, noValue] });
    return plot.draw({ x, y, z }, { zDataType: 'categorical', preventFilterReset: false });
  };
  const drawLegend = () => {
    const legend = $('legend');
    if (!column.classes) {
      const ramp = make('div', 'ramp'), bar = make('i');
      bar.style.background = `linear-gradient(to right, ${scale.join(',')})`;
      const end = (value) => make('span', '', String(+value.toPrecision(4)));
      ramp.append(end(column.low), bar, end(column.high));
      legend.replaceChildren(ramp);
      const none = column.values.filter(isNaN).length;
      if (none) legend.append(make('small', '', `${number(none)} without a value are pink`));
      return;
    }
    const sizes = new Array(column.classes.length).fill(0);
    for (const value of column.values) sizes[value] += 1;
    const more = column.classes.length - 200;              // of names, such as captions, nobody reads all
    legend.replaceChildren(...column.classes.slice(0, 200).map((name, index) => {
      const button = make('button'), dot = make('i');
      button.type = 'button';
      button.setAttribute('aria-pressed', 'false');
      button.title = 'Show only these';
      dot.style.background = colourOf(index);
      button.append(dot, make('span', '', name === '' ? '(none)' : name), make('small', '', number(sizes[index])));
      button.addEventListener('click', () => {
        const only = button.getAttribute('aria-pressed') === 'false';
        for (const other of legend.children) other.setAttribute('aria-pressed', 'false');
        button.setAttribute('aria-pressed', String(only));
        if (!plot) return;
        if (only) plot.filter(Array.from(column.values.keys()).filter((image) => column.values[image] === index));
        else plot.unfilter();
      });
      return button;
    }));
    if (more > 0) legend.append(make('small', '', `and ${number(more)} more`));
  };
  for (const [index, each] of data.columns.entries()) {
    const option = make('option', '', each.name);
    option.value = index;
    $('colour').append(option);
  }
  $('colour').addEventListener('change', (event) => { column = data.columns[event.target.value]; drawLegend(); draw(); });

  // One image, and its neighbours.
  const choose = (image, fromMap) => {
    const inspector = $('inspector'), neighbours = make('div', 'tiles');
    for (let place = image * k; place < (image + 1) * k; place += 1) neighbours.append(tile(rows[place], similarity[place].toFixed(3)));
    inspector.replaceChildren(show(make('div', 'thumb'), image), make('h3', 'path', data.names[image]), make('p', '', describe(image)), make('h4', '', 'Nearest neighbours, by cosine'), neighbours);
    inspector.dataset.image = image;
    inspector.scrollTop = 0;
    if (fromMap) return;
    $('atlas').scrollIntoView();
    if (plot) { plot.select([image], { preventEvent: true }); plot.zoomToLocation([x[image], y[image]], 0.35, { transition: true }); }
  };

  // Several images: a list to download.
  let selected = [];
  const select = (images) => {
    selected = images;
    $('selection').hidden = !images.length;
    if (!images.length) return;
    $('selection').querySelector('h3').textContent = `${number(images.length)} images selected`;
    fill($('selection').querySelector('.tiles'), images.slice(0, 120));
  };
  const cell = (value) => (/[",\r\n]/.test(value) ? `"${value.replaceAll('"', '""')}"` : value);
  $('download').addEventListener('click', () => {
    const lines = [['path', ...data.columns.map((each) => each.name)], ...selected.map((image) => [data.names[image], ...data.columns.map((each) => valueText(each, image))])];
    const link = make('a');
    link.href = URL.createObjectURL(new Blob([lines.map((line) => line.map(cell).join(',')).join('\r\n') + '\r\n'], { type: 'text/csv' }));
    link.download = 'selection.csv';
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 1000);
  });
  $('clear').addEventListener('click', () => { select([]); if (plot) plot.deselect({ preventEvent: true }); });

  // Findings.
  const group = (images, title, note) => {
    const element = make('div');
    if (title) { const heading = make('h4', '', title); heading.append(' ', make('span', '', note || '')); element.append(heading); }
    element.append(fill(make('div'), images));
    return element;
  };
  const some = (place, groups, limit) => {
    place.append(...groups.slice(0, limit).map((each) => each()));
    if (groups.length <= limit) return;
    const more = make('button', 'more', `Show all ${number(groups.length)}`);
    more.type = 'button';
    more.addEventListener('click', () => { more.remove(); place.append(...groups.slice(limit).map((each) => each())); });
    place.after(more);
  };
  const copies = data.duplicates.reduce((sum, images) => sum + images.length - 1, 0);
  $('num-duplicates').textContent = copies ? `${number(copies)} in ${number(data.duplicates.length)} groups` : '';
  if (!copies) { $('picture-of-duplicates').remove(); $('duplicates').replaceWith(make('p', 'empty', 'None found.')); }
  else some($('duplicates'), data.duplicates.map((images) => () => group(images.slice(0, 4))), 24);
  fill($('outliers'), data.outliers);
  fill($('diverse'), data.diverse);
  some($('clusters'), data.clusters.map((each, index) => () => group(each.images, `Cluster ${index}`, `${number(each.size)} images`)), 30);
  drawLegend();

  // The library draws points, moves the map and has the lasso.
  const canvas = $('canvas'), tip = $('tip');
  const colours = () => {
    const style = getComputedStyle(root);
    return { backgroundColor: style.getPropertyValue('--map').trim(), pointColorActive: style.getPropertyValue('--ink').trim(), pointColorHover: style.getPropertyValue('--ink').trim(), lassoColor: style.getPropertyValue('--accent').trim() };
  };
  try {
    plot = mapLibrary.createMap($('map'), { canvas, width: 'auto', height: 'auto', spatialIndexUseWorker: false, pointSize: Math.max(2.5, Math.min(9, 34 / Math.log10(count + 10) ** 1.5)), opacity: 0.86, pointSizeSelected: 3, lassoOnLongPress: true, ...colours() });
  } catch (error) {
    canvas.replaceWith(make('p', 'empty', 'This browser has no WebGL, so the map cannot be drawn. Everything else works.'));
    return;
  }
  onTheme = () => plot.set(colours());
  plot.subscribe('pointOver', (image) => {
    const [left, top] = plot.getScreenPosition(image), box = $('map').getBoundingClientRect();
    show(tip.firstElementChild, image);
    tip.children[1].textContent = data.names[image];
    tip.children[2].textContent = valueText(column, image);
    tip.hidden = false;
    tip.style.left = `${left + 172 > box.width ? Math.max(4, left - 168) : left + 12}px`;
    tip.style.top = `${Math.max(4, Math.min(top + 12, box.height - tip.offsetHeight - 6))}px`;
  });
  plot.subscribe('pointOut', () => { tip.hidden = true; });
  plot.subscribe('select', ({ points }) => { if (points.length === 1) choose(points[0], true); else select(Array.from(points)); });
  plot.subscribe('deselect', () => select([]));
  const drag = (mode) => {
    plot.set({ mouseMode: mode });
    $('pan').setAttribute('aria-pressed', String(mode === 'panZoom'));
    $('lasso').setAttribute('aria-pressed', String(mode === 'lasso'));
  };
  $('pan').addEventListener('click', () => drag('panZoom'));
  $('lasso').addEventListener('click', () => drag('lasso'));
  const extent = (values) => values.reduce(([low, high], value) => [Math.min(low, value), Math.max(high, value)], [Infinity, -Infinity]);
  const [left, right] = extent(x), [bottom, top] = extent(y);
  const area = { x: left - 0.05, y: bottom - 0.05, width: right - left + 0.1, height: top - bottom + 0.1 };
  $('reset').addEventListener('click', () => plot.zoomToArea(area, { transition: true }));
  draw().then(() => plot.zoomToArea(area)).then(() => { canvas.dataset.drawn = 'true'; });
  window.atlasPlot = plot;
})();
