// regl writes programs for its draw calls and compiles them with Function(), which a page without eval forbids.
// Here they become closures instead. The build puts this function in the place of Function.
import { vm } from 'eval5';

const names = { Array, Float32Array, Int8Array, Int16Array, Int32Array, Math, Uint8Array, Uint16Array, Uint32Array };

export function ClosureFunction(...words) {
  const program = words.pop();
  return vm.compileFunction(program, words, { parsingContext: names });
}
