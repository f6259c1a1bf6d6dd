// What the page takes from regl-scatterplot. Its own renderer draws by way of a float texture as large as the window,
// which without a GPU takes most of the time of a frame. This one draws at once, and is as large as the map.
import createRegl from 'regl';
import createScatterplot, { createRenderer } from 'regl-scatterplot';

const extensions = ['OES_texture_float', 'OES_element_index_uint', 'WEBGL_color_buffer_float', 'EXT_float_blend'];

export function createMap(place, settings) {
  const canvas = document.createElement('canvas');
  const regl = createRegl({ canvas, attributes: { antialias: false }, extensions, optionalExtensions: ['WEBGL_debug_renderer_info'] });
  const renderer = createRenderer({ regl, canvas });
  const software = /swiftshader|llvmpipe|software/i.test(regl._gl.getParameter(0x9246) || '');
  // Without a GPU the map has two thirds as many pixels a side, and they stay where they are drawn.
  if (software) Object.defineProperty(window, 'devicePixelRatio', { value: devicePixelRatio * 2 / 3 });
  const context = settings.canvas.getContext('2d', { willReadFrequently: software });
  const render = (draw, target) => {
    regl.clear({ color: [0, 0, 0, 0], depth: 1 });
    draw();
    context.clearRect(0, 0, target.width, target.height);
    context.drawImage(canvas, (canvas.width - target.width) / 2, (canvas.height - target.height) / 2, target.width, target.height, 0, 0, target.width, target.height);
  };
  const resize = () => renderer.resize(Math.max(1, place.clientWidth), Math.max(1, place.clientHeight));
  resize();
  new ResizeObserver(resize).observe(place);
  return createScatterplot({ ...settings, renderer: Object.create(renderer, { render: { value: render } }) });
}
