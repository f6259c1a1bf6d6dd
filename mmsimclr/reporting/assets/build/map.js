// What the page takes from regl-scatterplot. Its own renderer is as large as the window, and smooths edges that it
// does not draw: without a GPU that takes most of the time of a frame. This one is as large as the map.
import createRegl from 'regl';
import createScatterplot, { createRenderer } from 'regl-scatterplot';

const extensions = ['OES_texture_float', 'OES_element_index_uint', 'WEBGL_color_buffer_float', 'EXT_float_blend'];

export function createMap(place, settings) {
  const canvas = document.createElement('canvas');
  const regl = createRegl({ canvas, attributes: { antialias: false }, extensions });
  const renderer = createRenderer({ regl, canvas });
  const resize = () => renderer.resize(Math.max(1, place.clientWidth), Math.max(1, place.clientHeight));
  resize();
  new ResizeObserver(resize).observe(place);
  return createScatterplot({ ...settings, renderer });
}
