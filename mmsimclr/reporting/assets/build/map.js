// What the page takes from regl-scatterplot.
export { default as createScatterplot } from 'regl-scatterplot';
