"""template.py - what the model reads of a conversation: template.jinja rendered by Jinja2, set up as
transformers sets it up (and as the engine's own interpreter behaves), so that training and the
server write the same bytes by construction."""
import json
import os

import jinja2

HERE = os.path.dirname(os.path.abspath(__file__))
ENVIRONMENT = jinja2.Environment(trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=False,
                                 loader=jinja2.FileSystemLoader(HERE))
ENVIRONMENT.filters['tojson'] = lambda x: json.dumps(x, ensure_ascii=False)
TEMPLATE = ENVIRONMENT.get_template('template.jinja')


def render(conversation, prompt=False):
    return TEMPLATE.render(messages=conversation['messages'], tools=conversation.get('tools'),
                           add_generation_prompt=prompt)
