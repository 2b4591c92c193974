// encode.mjs NAME FILE... - token ids of texts by the JavaScript tokenizer that reads the published tokenizer.json itself: for each
// file a line "FILE N HASH" as tests/golden/words.c prints it. Run in the folder that install prints, with --ids for the ids.
import { readFileSync } from 'node:fs';
import { basename } from 'node:path';
import { createRequire } from 'node:module';

const from = createRequire(process.cwd() + '/x.js');
const { TokenizerLoader } = from('@lenml/tokenizers');
const [name, ...rest] = process.argv.slice(2);
const all = rest[0] === '--ids';
const read = (file) => JSON.parse(readFileSync(`@lenml/tokenizer-${name}/models/${file}`, 'utf8'));
const tokenizer = TokenizerLoader.fromPreTrained({ tokenizerJSON: read('tokenizer.json'), tokenizerConfig: read('tokenizer_config.json') });
for (const file of all ? rest.slice(1) : rest) {
    const ids = tokenizer.encode(readFileSync(file, 'utf8'), { add_special_tokens: false });
    let hash = 0xcbf29ce484222325n;
    for (const id of ids)
        for (let shift = 0; shift < 32; shift += 8)
            hash = ((hash ^ BigInt((id >>> shift) & 0xff)) * 0x100000001b3n) & 0xffffffffffffffffn;
    console.log(basename(file), ids.length, all ? ids.join(' ') : hash.toString(16).padStart(16, '0'));
}
