"""facts.py - what the built-in model knows about this appliance.

FACTS is a list of (name, answer, patterns, heldout, must):
  answer    the one sentence or two the model is taught; every statement must be true of the product
  patterns  ways to ask; [a|b|c] is a free choice (it nests, branches may be empty),
            $NAME a choice of MACROS
  heldout   ways to ask that training never sees (corpus.py checks it): the first is in the test set
            (heldout.jsonl), the others are for validation
  must      a regular expression that a right answer has to contain

ADDRESS, KEY and NAME stand in the answers where the reader puts his own.  When a fact changes,
change it here and train again.
"""

MACROS = {
    'HOW':
        'how do I|how can I|how to|how do you|how would I|tell me how to|what do I do to|explain '
        'how to|I want to|I would like to|is there a way to|can I|what is the way to',
    'WHERE':
        'where is|where do I find|where can I find|where can I get|how do I find|how do I get|I '
        'am looking for|where are you keeping|show me where to find|I need|I cannot find',
    'WHAT': "what is|what's|tell me|explain|what does it mean:|do you know|can you tell me|define",
    'WHICH': 'which|what|tell me which|list the|what are the',
    'BOX':
        'this appliance|the appliance|Tawny|this box|the box|this machine|the server|this device|'
        'this computer|it|the system',
    'CHANGE': 'change|set|configure|modify|adjust|alter|choose|pick',
    'CLIENT': 'client|program|app|application|tool|software',
}

FACTS = [
    ('who',
     'I am the small model built into Tawny. I answer questions about this appliance and do a few '
     'simple tasks. For real work, add a larger model.',
     ['who are you', 'what are you', '[please |]introduce yourself',
      'tell me [about yourself|who you are|what you are]',
      'are you [a human|a person|a robot|an AI|ChatGPT|a language model|real]',
      "[what is|what's] your name", 'who am I [talking|speaking|chatting] [to|with]',
      'what model [are you|is this]', 'which model [am I using|is running now|answers me]',
      'do you have a name', 'say who you are'],
     ['who is answering me', 'what kind of model are you'],
     'small model built into Tawny'),
    ('cando',
     'I can answer questions about this appliance, repeat and reverse words, add two numbers '
     'below 100, count, name capital cities, write words in capital letters, make small JSON '
     'objects and call tools.',
     ['what can you do[| for me]',
      '[what are|list|tell me] your [skills|abilities|capabilities|talents|features]',
      'how can you help[| me]', 'what do you know', 'what can I ask[| you]',
      'what [tasks|things] [can you do|do you know]', 'help', 'help me',
      'what are you [good|useful] [for|at]', 'show me what you can do', 'can you help[| me]',
      'give me some examples of what you can do'],
     ['which tasks are you able to do', 'tell me what you can do'],
     'answer questions about this appliance.*JSON'),
    ('tawny',
     'Tawny is an appliance: a system image whose only job is to run a language model on your own '
     'machine and serve it over HTTPS to your network.',
     ['$WHAT [Tawny|this appliance|this box|this system|this thing]',
      'what does [Tawny|this appliance|this box|this system] do',
      'what is [this appliance|this box|Tawny|this device] [for|good for|used for]',
      'describe [Tawny|this appliance|the appliance]',
      'what is the purpose of [this appliance|Tawny|this box]', 'what is this',
      'why [would I use|do I need] Tawny', 'tell me about Tawny',
      'what kind of [system|appliance|product|software] is [this|Tawny]'],
     ['what is this appliance good for', 'give me a description of Tawny'],
     'run a language model'),
    ('addmodel',
     'Copy the GGUF file to the folder tawny/models on the data partition (label tawny-data), set '
     'model = NAME.gguf in tawny.conf on the EFI partition, then restart.',
     ['$HOW [add|install|load|use|run|put|copy|import|upload|get] [a|another|my own|a new|a '
      'bigger|a larger|a different|my|a better|some other] [model|LLM|language model|GGUF file|'
      'GGUF|GGUF model]',
      '$HOW [add|install|load|use|run|import] [models|other models|more models|my own models|GGUF '
      'files]',
      'where [do|should|can] I [put|copy|store|place|save] [my model|a model|models|GGUF files|'
      'the GGUF file|the model files|my GGUF]',
      'where do [models|the models|GGUF files|model files] go',
      'I [have|downloaded] a GGUF[| file|model], what [now|next|do I do with it]',
      '[adding|installing|loading] a [model|new model]',
      'what [steps|must I do] to [add|install] a model', 'model installation',
      '[where are|where is] the models [folder|directory]',
      'which folder [is for|holds] the models'],
     ['how should I install a bigger model', 'where must the GGUF file go',
      'please help me add a new model'],
     r'tawny/models.*model = NAME\.gguf.*tawny\.conf'),
    ('switchmodel',
     'Set model = NAME.gguf in tawny.conf to the file you want from the models folder, then '
     'restart.',
     ['$HOW [switch|change|swap|select|choose|replace] [the|to another|to a different|between|my|'
      'the current] [model|models]',
      '$HOW [make it use|tell it to use] [another|a different|the other] model',
      'which setting [selects|chooses|names|decides] the model', 'change the model',
      'switch models', '[what is|explain] the model setting',
      '$HOW activate [a|my|the other] model'],
     ['how could I switch to the other model', 'which setting names the model to load'],
     r'model = NAME\.gguf'),
    ('builtinback',
     'Set model = builtin in tawny.conf and restart: builtin is the default.',
     ['$HOW [go back|return|switch back|come back|revert] to [the built-in model|the builtin '
      'model|the default model|you]',
      '$HOW [use|run|restore|load] the [built-in|builtin|default|original|small] model[| again]',
      'what is the default model', 'which model is [the default|used by default]',
      '$HOW get you back'],
     ['how do I get the built-in model back', 'what model is used by default'],
     'model = builtin'),
    ('removemodel',
     'Delete its GGUF file from the folder tawny/models on the data partition.',
     ['$HOW [remove|delete|uninstall|erase|get rid of] [a|my|an old|the|the old] [model|GGUF file|'
      'GGUF]',
      '$HOW free [space|disk space]', '[delete|remove] a model',
      'the disk is full, how do I delete models'],
     ['how do I uninstall a model I do not need', 'I want to get rid of an old GGUF'],
     'Delete its GGUF file'),
    ('listmodels',
     'Ask GET /v1/models with your API key: it lists the models that can be used.',
     ['$HOW [list|see|show] [the|all|all the|my] [models|available models|loaded models|installed '
      'models]',
      '[which|what] models [are available|are there|can I use now|are installed|are loaded]',
      'how many models are [there|installed]', 'which endpoint lists [the|] models',
      'show me the list of models', 'list models'],
     ['where can I see the available models', 'which models are installed now'],
     '/v1/models'),
    ('kinds',
     'GGUF files of most model families work, for example Llama, Qwen, Gemma, Mistral or gpt-oss, '
     'if they fit in memory.',
     ['$WHICH [models|kinds of models|model families|architectures|types of models|LLMs] [work|'
      'are supported|do you support|does it support|can I run|can Tawny run|run on $BOX|are '
      'compatible]',
      'does [it|Tawny|this] [support|run] [Llama|Qwen|Llama 3|Qwen 2.5|llama models|qwen models]',
      'can I [run|use] [Llama|Qwen|Llama 3|Qwen 2.5|other models]',
      'is [Llama|Qwen|Llama 3|Qwen 2.5] supported', 'supported [models|architectures]',
      'what model should I use',
      'which model [do you recommend|is best|should I take|should I download]'],
     ['what model architectures can it run', 'will Qwen 2.5 work here'],
     'most model families'),
    ('quants',
     'All usual weight formats work: F32, F16, BF16, Q8_0, Q4_0, Q4_K, Q5_K, Q6_K, smaller ones '
     'and MXFP4.',
     ['$WHICH [quantisations|quantizations|quants|formats|weight formats|quantisation types|'
      'quantization types|tensor types] [work|are supported|do you support|does it support|can I '
      'use|are possible]',
      'does [it|Tawny] support [Q4_K_M|Q8_0|Q4_0|BF16|Q5_K|Q6_K|F16|quantised models|quantized '
      'models]',
      'is [Q4_K_M|Q8_0|Q4_0|BF16|Q5_K_M|Q6_K|F16] supported',
      'supported [quantisations|quantizations|quants|formats]',
      'can I use [Q4_K_M|Q8_0|Q4_0|BF16|Q6_K|quantised models]'],
     ['what quantisation formats are there that work here', 'can it read Q6_K files'],
     'Q8_0, Q4_0, Q4_K'),
    ('whichquant',
     'Q4_K_M is a good choice: small and fast. Q8_0 is closer to the original and about twice as '
     'large.',
     ['[which|what] [quantisation|quantization|quant|format] [is best|should I use|should I take|'
      'do you recommend|is good|should I choose|should I download]',
      'Q4_K_M or Q8_0', 'what is the best [quantisation|quantization|quant]',
      'should I use [Q8_0|Q4_K_M]', 'recommend a [quantisation|quantization|quant]',
      'what is better, [Q4_K_M|Q8_0] or [Q8_0|Q4_K_M]'],
     ['which quant would you take', 'please recommend a quantisation for me'],
     'Q4_K_M is a good choice'),
    ('gguf',
     'GGUF is a file format that holds a language model: its weights, its vocabulary and its '
     'settings in one file.',
     ['$WHAT [GGUF|a GGUF|a GGUF file|the GGUF format]', 'what does GGUF [mean|stand for]',
      'what [kind of file|file format] is GGUF', 'what is in a GGUF file'],
     ['explain to me what a GGUF file is', 'what sort of file is a GGUF'],
     'file format that holds a language model'),
    ('quantis',
     'Quantisation stores the weights of a model with fewer bits, so that it is smaller and '
     'faster and a little less exact.',
     ['$WHAT [quantisation|quantization|a quantised model|a quantized model|quantising]',
      'what does [quantised|quantized|quantisation|quantization] mean',
      'why [are models quantised|quantise a model|quantize]'],
     ['please explain quantisation', 'what is the meaning of quantised'],
     'fewer bits'),
    ('token',
     'A token is a piece of text, often a word or a part of one. A model reads and writes tokens.',
     ['$WHAT [a token|tokens]', 'what does token mean', 'what are tokens'],
     ['what is the meaning of token', 'please explain tokens'],
     'piece of text'),
    ('cert',
     'Download the certificate authority from http://ADDRESS/ca.crt (port 80); '
     'https://ADDRESS/ca.crt works as well.',
     ['$WHERE [the|your|its|a] [certificate|CA certificate|cert|certificate authority|CA|ca.crt|'
      'root certificate|TLS certificate|CA file]',
      '$HOW [download|get|fetch|obtain|find] [the|your|a] [certificate|CA certificate|cert|'
      'certificate authority|CA|ca.crt|root certificate]',
      'which [URL|address|page|link] [has|gives|serves] the [certificate|CA|ca.crt]',
      '[certificate|ca.crt] [location|download|please]',
      'what is the [URL|address|link] of the [certificate|CA|ca.crt]'],
     ['where should I look for the certificate', 'from which URL can I download the CA',
      'please give me the CA certificate'],
     r'/ca\.crt'),
    ('trust',
     'Download http://ADDRESS/ca.crt and import it as a trusted authority in your browser or '
     'system; for curl use --cacert ca.crt. The page https://ADDRESS/ explains it.',
     ['$HOW [trust|import|install|accept|use] [the|your|this] [certificate|CA|cert|ca.crt|CA '
      'certificate|certificate authority]',
      '[my|the] browser [says|complains|warns|shows] [the certificate is not trusted|not secure|'
      'that the connection is not private|a certificate warning|a warning|an error about the '
      'certificate]',
      'why [does my browser|does Chrome|does Firefox|does curl] [warn me|not trust the '
      'certificate|complain about the certificate|show a warning]',
      '[I get a|how do I fix the|there is a] [certificate error|certificate warning|TLS error|SSL '
      'error|security warning]',
      'self signed certificate[| error]', 'unable to get local issuer certificate',
      'certificate [not trusted|verify failed|unknown]'],
     ['how do I make my browser trust the certificate', 'curl says the certificate is not trusted'],
     'import it as a trusted authority'),
    ('renew',
     'The server certificate is issued again by itself when an address changes; the certificate '
     'authority stays the same, so you need not import it again.',
     ['$HOW [renew|reissue|update|replace|refresh] the certificate',
      '[when does|does|will] the certificate expire',
      'what happens when [the address changes|the IP changes|my IP address changes|the '
      'certificate expires]',
      'is the certificate still valid when the address changes',
      'how long is the certificate valid'],
     ['must I renew the certificate', 'what happens to the certificate if the IP address changes'],
     'issued again by itself'),
    ('key',
     'Your API key is printed on the console at boot. It is kept in the file api-key in the state '
     'directory (/data/tawny).',
     ['$WHERE [the|my|your|an] [API key|key|api key|api-key|password|token for the API|secret|'
      'access key|bearer token]',
      'what is [my|the|your] [API key|key|api key|password|secret key]',
      '$HOW [find|get|see|read|obtain|look up] [my|the|an] [API key|key|api key|password]',
      'I [lost|forgot|do not know|do not have] [my|the] [API key|key|password]',
      'which [file|place] holds the [API key|key]',
      '[tell|give|show] me [my|the] [API key|key|password]',
      'where is the [API key|key] [kept|stored|saved|printed|shown]', 'api key'],
     ['where was the API key printed', 'I do not remember my API key', 'in which file is the key'],
     'printed on the console at boot'),
    ('newkey',
     'Delete the file api-key in the state directory (/data/tawny) and restart: a new key is made.',
     ['$HOW [change|replace|renew|rotate|regenerate|reset|revoke] [my|the] [API key|key|api key|'
      'password]',
      '$HOW [make|create|generate|get] a new [API key|key|password]',
      'someone [stole|knows|has seen] my [API key|key], what now', '[new|another] API key please',
      'can I have a [new|different] API key'],
     ['I want a new API key', 'how may I rotate the key'],
     'Delete the file api-key'),
    ('usekey',
     'Send it in the header Authorization: Bearer KEY. Only /health, /ca.crt and the start page '
     'need no key.',
     ['$HOW [use|send|pass|give|provide|enter] [my|the|an] [API key|key|api key]',
      '[which|what] header [has|carries|takes|is for] the [API key|key]',
      'do I need [an API key|a key|a password|to log in]',
      'is [an API key|a key|a password|authentication] [needed|required|necessary]',
      '[what|which] [pages|endpoints|requests] [work|can I use|need] [without|no] [an API key|a '
      'key|key]',
      '$HOW [authenticate|log in|authorize|sign in]', 'does it work without [an API key|a key]',
      'can I [turn off|disable] the API key'],
     ['in which header do I send the key', 'is it possible to connect without a key'],
     'Authorization: Bearer KEY'),
    ('e401',
     'The API key is missing or wrong. Send the header Authorization: Bearer KEY with the key '
     'printed on the console at boot.',
     ['[why do I get|I get|what does|what means|explain|what is|help with] [error |status |HTTP |'
      'a |]401',
      '[I get|why do I get|what means] unauthorized',
      'the [server|appliance|API] [says|answers|returns] [401|unauthorized|invalid API key]',
      '401 [error|unauthorized]',
      'my [key|API key] [does not work|is rejected|is refused|is not accepted]', 'invalid api key'],
     ['why does the API answer 401', 'my key was not accepted'],
     'missing or wrong'),
    ('ports',
     'HTTPS is on ports 443 and 11434. Port 80 gives only /ca.crt and sends everything else to '
     'HTTPS.',
     ['$WHICH ports[| are open| are used| does it use| do you use| does $BOX listen on| do I need|'
      ' must be open]',
      'what port [is|does] [it on|it use|Tawny use|the server on|the API on|the API use|HTTPS on]',
      '[which|what] [port|ports] [should|do|must] I [use|open|connect to|forward]',
      'what [is on|runs on|does] port [80|443|11434][| do]',
      'on which port [does it listen|is the API|is HTTPS|do I connect]', 'why port 11434',
      'open ports', 'list the ports', 'port numbers', 'which [port|ports] in the firewall'],
     ['which ports should my firewall open', 'what ports is the server listening on',
      'on what port is the API'],
     '443 and 11434'),
    ('changeport',
     'Set listen in tawny.conf, for example listen = [::]:443,[::]:11434, then restart. '
     'listen-http is the plain port; empty turns it off.',
     ['$HOW [change|set|configure|move|add|choose] [the|a|another|a different] [port|ports|listen '
      'address|listening port]',
      '$HOW [turn off|disable|close|switch off] port 80',
      'can it [listen|run] on [another|a different] port',
      'which setting [changes|is for|sets] the [port|ports]',
      '[what is|explain] the listen setting'],
     ['I want to move it to a different port', 'which setting is for the listening port'],
     'listen in tawny.conf|Set listen'),
    ('openai',
     'Set base_url to https://ADDRESS/v1 and api_key to your API key, and let the client trust '
     'ca.crt.',
     ['$HOW [connect|use|configure|set up] [with |it with |][the |an |][openai|OpenAI] [client|'
      'library|python client|npm client|SDK|package|API]',
      '$HOW [connect|use it|call it|talk to it|use $BOX] [from|with|in] [python|Python|JavaScript|'
      'node|my program|my code|an app]',
      '[what|which] [is the|is the right|do I set as] [base_url|base URL|baseURL|API base|API URL|'
      'endpoint URL]',
      'does it work with [openai|the openai library|OpenAI clients|the openai client]',
      'is it [compatible with OpenAI|OpenAI compatible|openai compatible]', 'python example',
      'openai client', '$HOW connect [a|my] $CLIENT',
      '[which|what] URL do I [give|enter in] my $CLIENT'],
     ['how do I use the openai python library with this', 'what should the base_url be',
      'can my OpenAI client talk to it'],
     'https://ADDRESS/v1'),
    ('curl',
     'curl --cacert ca.crt -H "Authorization: Bearer KEY" https://ADDRESS/v1/models lists the '
     'models; send chats to /v1/chat/completions.',
     ['$HOW [use|connect with|call it with|ask with|test with|talk to it with|send a request with|'
      'try it with] curl',
      '[show|give] me a curl [example|command|line]', 'curl [example|command|please]',
      'what is the curl command', '[which|what] curl [options|command] do I need', 'does curl work',
      'connect with curl', '$HOW use $BOX [from the command line|from a shell|in a terminal]'],
     ['please show an example with curl', 'how would I send a question with curl'],
     'curl --cacert ca'),
    ('ollama',
     'Point it at https://ADDRESS:11434 with your API key and let it trust ca.crt. Port 11434 '
     'speaks the same API as port 443.',
     ['$HOW [connect|use|configure|set up] [with |][an |my |a |][Ollama|ollama|Ollama-style|'
      'ollama style] [client|app|program|tool|clients]',
      'does it [work with|support] [Ollama|ollama|Ollama clients]',
      'is it [compatible with Ollama|like Ollama|ollama compatible]',
      '[what|which] [address|URL|host] for [an Ollama client|Ollama|ollama]', 'ollama client',
      'can I use [Ollama|ollama|an Ollama client]'],
     ['how does an Ollama client connect', 'which host do I enter in my ollama app'],
     'https://ADDRESS:11434'),
    ('endpoints',
     'Among the endpoints are /v1/chat/completions, /v1/completions, /v1/embeddings and '
     '/v1/models, and /health and /ca.crt without a key.',
     ['$WHICH [endpoints|API endpoints|paths|routes|API calls|URLs] [are there|exist|does it have|'
      'can I use|are available|does the API have]',
      'what API does it [have|speak|offer|use]', 'list the [endpoints|API|routes]',
      'which endpoint [is for|does] chat', '$WHAT the API',
      'where do I send [chats|chat messages|questions|prompts|requests]'],
     ['what endpoints can be called', 'to which endpoint do I send a chat'],
     '/v1/chat/completions'),
    ('stream',
     'Yes: send "stream": true and the answer comes piece by piece as server-sent events.',
     ['[can it|does it|can you|does $BOX|does the API] [stream|support streaming|stream answers|'
      'stream tokens]',
      '$HOW [stream|get streaming|turn on streaming|enable streaming|stream the answer]',
      'is streaming [supported|possible|available]', 'streaming',
      'can I see the answer while it is written'],
     ['is it possible to stream the answer', 'will the API support streaming'],
     '"stream": true'),
    ('tools',
     'Yes: send tools with the request. I call the one that fits, or several, use what they '
     'answer, and say so when none fits.',
     ['[can you|do you|does it|can it|does $BOX|do you know how to] [call|use|support] [tools|'
      'functions|a tool|tool calls|function calls]',
      '[do you|does it|does the API] support [tool calling|function calling|tools]',
      '$HOW [use|send|give you|offer|add] [tools|functions|a tool|a function]',
      'is [tool calling|function calling] [supported|possible|there]',
      '$WHAT [tool calling|a tool call|function calling|tool_choice]',
      'tool [calls|calling]', 'function [calls|calling]',
      'what [can you do|do you do] with tools',
      '[what happens|what do you do] when no tool fits',
      'can [agents|an agent|my agent] use [you|it]'],
     ['are you able to call tools', 'will function calls work here'],
     'send tools with the request'),
    ('sampling',
     'A request may set temperature, top_p, seed, stop and max_tokens.',
     ['$WHICH [sampling options|sampling parameters|parameters|request options|request fields|'
      'options] [are there|can I set|are supported|does the API take|may a request have]',
      'does it support [temperature|seed|stop|top_p|max_tokens|stop strings]',
      '$HOW set the [temperature|seed|top_p|maximum length]',
      'can I set [temperature|the temperature|a seed|max_tokens|stop]',
      '$HOW [limit|shorten] the [answer|length of the answer|number of tokens]'],
     ['may I set a seed', 'which sampling parameters does a request take'],
     'temperature, top_p'),
    ('health',
     'GET /health says whether the model is loading, ready or failed, and names the device and '
     'the layers on it. It needs no key.',
     ['$WHAT [/health|the health endpoint|the health page|GET /health]',
      'what does [/health|the health endpoint] [say|show|tell|return|do]',
      '$HOW [check|see|know|monitor|test] [whether|if|that] [it|$BOX|the model|the server] [works|'
      'is ready|is running|is healthy|is up|is alive|runs]',
      'is [it|the server|the model] [ready|up|running|healthy]', 'health check',
      '$HOW [check the status|see the status|monitor it|check its health]'],
     ['how do I know that the server is ready', 'what does GET /health tell me'],
     'loading, ready or failed'),
    ('gpu',
     'Ask GET /health: it names the device in use and the reason. The setting device in '
     'tawny.conf (auto, cpu or a name) chooses it.',
     ['why is [my|the] [GPU|graphics card|Radeon|AMD GPU|graphics|iGPU] not [used|working|found|'
      'detected|running]',
      'why [does it|do you|does $BOX] [run on the CPU|use the CPU|not use the GPU|not use my GPU|'
      'ignore my GPU]',
      'is [my|the] [GPU|graphics card] [used|in use|working|found|detected]',
      '[which|what] [device|GPU|processor|hardware] [is used|does it run on|are you running on|is '
      'in use|are you using|do you use]',
      '$HOW [use|enable|turn on|activate|select] [the|my] [GPU|graphics card|Radeon]',
      'does it use [the GPU|my GPU|the CPU|the graphics card]',
      'do you run on [the GPU|the CPU|a GPU]', 'GPU not used', 'no GPU',
      'my [GPU|graphics card] is [idle|not used|not found]',
      '$HOW [see|know|check] [if|whether] the GPU is used'],
     ['how come the GPU is not used', 'are you using my GPU',
      'tell me why my graphics card is not found'],
     'Ask GET /health'),
    ('device',
     'Set device in tawny.conf to auto, vulkan, cpu or the name of a device, then restart. GET '
     '/health names the device in use.',
     ['$HOW [$CHANGE|force] [the|another|a different] device',
      '$HOW [force|make] it [to use|use|run on] the CPU',
      '[what is|explain|what does] the [device setting|setting device|setting called device]',
      'which values can device have', '$HOW run [on|only on] the CPU'],
     ['I want to choose the device', 'which setting makes it run on the CPU'],
     'Set device in tawny'),
    ('nvidia',
     'No. Tawny brings drivers for AMD graphics only; with device = cpu it runs on the processor.',
     ['[does it|does Tawny|can it|will it] [support|use|work with|run on] [NVIDIA|Nvidia|nvidia|'
      'CUDA|an NVIDIA card|an NVIDIA GPU|Intel graphics|a GeForce]',
      'is [NVIDIA|CUDA|Nvidia] supported',
      'can I use [an NVIDIA card|an Nvidia GPU|CUDA|a GeForce]',
      'I have an [NVIDIA|Nvidia] [card|GPU]'],
     ['will my NVIDIA GPU be used', 'is there CUDA support'],
     'AMD graphics only'),
    ('conf',
     'tawny.conf is on the EFI partition of the disk, which any PC can open and edit. Restart '
     'after a change.',
     ['$WHERE [tawny.conf|the settings|the configuration|the config file|the settings file|the '
      'configuration file|the config]',
      '$HOW [edit|change|open|modify|reach] [tawny.conf|the settings|the configuration|settings|'
      'the config file|a setting]',
      'which file [has|holds|contains] the [settings|configuration]',
      '[settings|configuration|config] file', 'where are the settings [kept|stored|saved]',
      '$WHAT tawny.conf', '$HOW configure $BOX'],
     ['where might tawny.conf be', 'in which file are the settings'],
     'EFI partition'),
    ('settings',
     'Among the settings are model, listen, listen-http, device, ctx, threads, parallel, hostname '
     'and log, one key = value line each; tawny.conf explains them all.',
     ['$WHICH settings [are there|exist|can I change|does it have|are in tawny.conf|can be set]',
      '[what|which] [keys|options|settings] [does tawny.conf have|are in tawny.conf|can I write '
      'in tawny.conf]',
      'list [all|the|all the] settings', 'what can I [configure|set|change in tawny.conf]',
      'what does tawny.conf look like', 'what is the [syntax|format] of tawny.conf'],
     ['give me a list of the settings', 'what can be changed in tawny.conf'],
     'model, listen, listen-http'),
    ('hostname',
     'Set hostname = NAME in tawny.conf and restart. The default is tawny.',
     ['$HOW [change|set|configure|choose|modify] [the|its|my|your] [hostname|host name|name of '
      '$BOX|computer name|machine name|network name]',
      '$HOW [rename|name] [the appliance|it|this box|the machine|the server]',
      "[what is|what's] [the|your|its] [hostname|host name|default hostname|network name|machine "
      'name]',
      'change hostname', 'give [the box|it|the appliance] another name'],
     ['can the hostname be changed', 'I want to rename this machine'],
     'hostname = NAME'),
    ('threads',
     'Set threads = N in tawny.conf and restart. 0, the default, uses all cores.',
     ['$HOW [change|set|configure|limit|choose|reduce|increase] [the|the number of|how many|the '
      'count of] [threads|cores|CPU cores|CPU threads][| used]',
      'how many [threads|cores|CPUs] [does it use|are used|do you use]',
      'does it use all [cores|threads|CPUs]', '[what is|explain] the threads setting',
      'use [fewer|more|all] [threads|cores]', 'what does threads = 0 mean'],
     ['can I limit how many cores are used', 'which setting changes the threads'],
     'threads = N'),
    ('ctx',
     'Set ctx = N in tawny.conf and restart. The default, auto, is what fits in memory. I myself '
     'can read 32768 tokens.',
     ['$HOW [change|set|configure|increase|enlarge|raise|extend|reduce] [the|its] [context|'
      'context length|context size|context window|ctx]',
      '[how long|how big|how large|what] is [the|your] [context|context length|context size|'
      'context window]',
      'how many tokens [fit in the context|can it read|can I send]',
      '[what is|explain] [ctx|the ctx setting]', 'can I have a [longer|larger|bigger] context',
      'what is the maximum [context|prompt length]'],
     ['I need a larger context window', 'which context length is the default'],
     'ctx = N'),
    ('toolong',
     'The prompt is longer than the context: the error 400 gives both numbers. Shorten it or set '
     'a larger ctx in tawny.conf.',
     ['[my|the] prompt is too long',
      '[why do I get|I get|what means|explain|what is] [error |status |HTTP |a |]400',
      'the [prompt|conversation|text|chat] [does not fit|is too long|is longer than the context]',
      'what happens when the [prompt|text] is too long', '400 error', 'prompt too long'],
     ['what if my prompt is too long', 'why does the API answer 400'],
     'longer than the context'),
    ('parallel',
     'Set parallel = N in tawny.conf and restart. The default is 4 requests at the same time.',
     ['how many [users|people|clients|requests|chats] [can use it|are possible|can it serve|can '
      'be served|at once|at the same time|in parallel|does it serve]',
      'can [several|many|two|more than one] [users|people|clients|programs] use it[| at once| at '
      'the same time]',
      '$HOW [change|set|increase] [parallel|the number of parallel requests|the number of users]',
      '[what is|explain] the parallel setting',
      'does it [serve|answer|handle] [several|many|parallel] [requests|clients|users]',
      'can my [family|team|friends] use it[| too| at the same time]'],
     ['may two people use it at once', 'how many clients are served in parallel'],
     'parallel = N'),
    ('log',
     'Logs go to the console: the screen or the serial port. Set log = debug in tawny.conf for '
     'more detail.',
     ['$WHERE [the|your|its] [logs|log|log files|log messages|logfile|messages|error messages]',
      '$HOW [see|read|view|show|get] [the|its] [logs|log|log messages|log files|messages]',
      'where do [the logs|log messages|messages] go',
      '$HOW [debug|turn on debug logging|get more detailed logs|get more log messages]',
      'does it [log|write logs]', '[what is|explain] the log setting', 'show me the logs',
      'debug logging'],
     ['where could I read the log messages', 'I want to see the logs'],
     'Logs go to the console'),
    ('reboot',
     'Press the power button briefly to switch it off cleanly, then switch it on again. In '
     'Proxmox use Reboot.',
     ['$HOW [reboot|restart|boot again|reset] [$BOX|the appliance|it]',
      '[reboot|restart][| please| the appliance| it| the box]',
      '$HOW [do|make|perform] a [reboot|restart]',
      'can you [reboot|restart][| the appliance| yourself]',
      'what is the [right|clean|safe] way to [reboot|restart]', 'it needs a [reboot|restart]'],
     ['what is the best way to restart the appliance', 'I have to reboot it now'],
     'switch it on again'),
    ('poweroff',
     'Press the power button once: it shuts down cleanly. In Proxmox use Shutdown.',
     ['$HOW [power off|shut down|turn off|switch off|stop|halt] [$BOX|the appliance|it|the '
      'machine]',
      '[power off|shut down|turn off|switch off][| please| the appliance| it| the box]',
      'can you [shut down|power off|turn yourself off]',
      'what is the [right|clean|safe] way to [shut down|power off|turn it off]',
      'can I just [unplug it|pull the plug]', '$HOW do a [clean|safe] shutdown',
      'what does the power button do'],
     ['how should I switch the machine off', 'what is the way to shut it down'],
     'shuts down cleanly'),
    ('powercut',
     'Nothing is lost: files are written whole or not at all, and the keys and models are still '
     'there at the next boot.',
     ['what happens [when|if|after] [the power fails|the power goes out|I pull the plug|there is '
      'a power cut|it loses power|the power is cut]',
      'is a [power cut|power failure|power loss] [dangerous|a problem|bad]',
      'can a power cut [break|damage|destroy] it',
      'do I lose [data|my data|the key|my models] when the power [fails|goes out|is cut]'],
     ['will a power cut damage it', 'what if the power suddenly fails'],
     'Nothing is lost'),
    ('crash',
     'The engine is started again within seconds when it stops, and the console says why it '
     'stopped.',
     ['what happens [when|if] [it crashes|the engine crashes|the server crashes|the engine dies|'
      'the program crashes]',
      '[it|the engine|the server] [crashed|has crashed|stopped|died]',
      '[does it|will it] [restart|recover|come back] [by itself|after a crash|automatically]',
      'what if [it|the engine] [hangs|stops|fails]'],
     ['what will happen after a crash of the engine', 'the engine died, will it come back'],
     'started again within seconds'),
    ('internet',
     'No. Everything runs on this machine and nothing is sent to the internet.',
     ['[is|do I need|does it need] [the internet|internet|an internet connection|internet access|'
      'to be online][| needed| required]',
      'does it [work|run] [offline|without internet|without the internet]',
      'can [I|it] [use it|run|work] [offline|without internet|without the internet]',
      'does it [phone home|send data|connect to the internet|use the cloud|need the cloud|send my '
      'data away]',
      'is [my data|anything|my text|my chat] sent [to the internet|to the cloud|somewhere|to '
      'anyone]',
      'is it [private|offline]', 'who can [read|see] my [data|chats|questions]',
      'what about [privacy|my privacy]', 'internet connection needed'],
     ['is an internet connection necessary', 'will my chats be sent to the cloud',
      'may I run it offline'],
     'nothing is sent to the internet'),
    ('secure',
     'All traffic is TLS 1.2, every device makes its own certificate authority and API key at '
     'first boot, and the engine runs as an ordinary user.',
     ['is [it|Tawny|this|the appliance|this box] [secure|safe|secured|protected]',
      'how [secure|safe] is [it|Tawny|this|the appliance]',
      'is the [connection|traffic|network traffic] [encrypted|secure|safe]', 'what about security',
      '$WHICH [TLS version|encryption|TLS] [does it use|is used]',
      '[which|what] [encryption|version of TLS|TLS] do you use', 'security',
      'does it use [TLS|encryption|HTTPS|SSL]', 'how is it [protected|secured]'],
     ['how well is it secured', 'tell me about the security of this box'],
     r'TLS 1\.2'),
    ('ssh',
     'No. There is no shell, no SSH and no login: the image holds only what is needed to serve a '
     'model.',
     ['[can I|how do I|is it possible to] [log in|use ssh|ssh into it|open a shell|get a shell|'
      'log in with SSH|connect with SSH|get root]',
      'is there [a shell|SSH|an SSH server|a terminal|a login|a root password|a command line]',
      'does it have [SSH|a shell|a login|a terminal]',
      '[what is|where is] the [root password|login|SSH password|login name]', 'ssh'],
     ['could I ssh into the box', 'is a shell on it'],
     'no shell, no SSH'),
    ('webui',
     'There is no chat page: the start page explains how to trust the certificate. Chat with any '
     'client that speaks the OpenAI API.',
     ['is there a [web interface|web page|web UI|chat page|website|GUI|graphical interface|user '
      'interface]',
      'does it have a [web interface|web UI|chat page|GUI|user interface]',
      '$HOW [chat in the browser|open the web interface|use it in a browser|chat with my browser]',
      'where is the [web interface|chat page|web UI|GUI]', 'what is on the start page',
      'can I chat in [the|my] browser'],
     ['does a web interface exist', 'where can I chat in the browser'],
     'no chat page'),
    ('update',
     'Replace the system files on the EFI partition by those of the new version and restart. '
     'Models, key and certificates on the data partition stay.',
     ['$HOW [update|upgrade] [$BOX|the appliance|the software|it|to a new version|the system]',
      '$HOW install [an update|updates|a new version|the new version|a newer version]',
      '[update|upgrade][| please]', 'does it update [itself|automatically|by itself]',
      'are there [updates|automatic updates]',
      'do I lose my [models|data|key] when I [update|upgrade]'],
     ['what must I do to upgrade to a newer version', 'is there an automatic update'],
     'Replace the system files'),
    ('proxmox',
     'Make a VM without a disk, import tawny.qcow2 with qm importdisk, attach it as the boot disk '
     'and start. UEFI and BIOS both work.',
     ['$HOW [run|install|use|start|set up|deploy] [it|Tawny|$BOX] [in|on|with] [Proxmox|proxmox|'
      'Proxmox VE|a VM|a virtual machine|QEMU|KVM]',
      'does it [run|work] [in|on] [Proxmox|a VM|a virtual machine|Proxmox VE]',
      '[Proxmox|proxmox|VM] [installation|setup|how]',
      '$HOW [import|make|create] [the|a] [VM|virtual machine|qcow2|disk image|Proxmox VM]',
      'can I [run|use] it [in a VM|in Proxmox|virtually]', '$WHAT tawny.qcow2'],
     ['please explain the installation in Proxmox', 'I want to run Tawny as a virtual machine'],
     'qm importdisk'),
    ('usb',
     'Write the image to the stick with dd if=tawny.img of=/dev/sdX bs=4M and boot from it. '
     'Everything on the stick is erased.',
     ['$HOW [make|create|write|prepare] [a|the|a bootable] [USB stick|USB drive|boot stick|USB|'
      'flash drive|thumb drive]',
      '$HOW [boot|run|start] [it|Tawny|$BOX] from [a USB stick|USB|a stick|a USB drive|a flash '
      'drive]',
      '$HOW [write|flash|burn|copy] [the image|tawny.img|the disk image][| to a USB stick| to a '
      'stick| to a disk| with dd]',
      'USB stick', 'can I [boot|run] it from [USB|a USB stick|a stick]',
      '$HOW install [it|Tawny] on [a PC|real hardware|a mini PC|a computer|bare metal|a disk]',
      '$WHAT tawny.img', 'what is the dd command'],
     ['how do I write the image onto a USB stick', 'I want to start it from a flash drive'],
     r'dd if=tawny\.img'),
    ('hardware',
     'Any x86-64 PC or VM that boots by UEFI or BIOS, with a wired network. AVX2 or AVX-512 make '
     'it faster.',
     ['$WHICH [hardware|machine|machines|computer|PC|CPU|processor|computers] [do I need|does it '
      'need|is needed|is supported|works|does it run on|are supported|can I use]',
      'what are the [requirements|system requirements|hardware requirements]',
      'does it run on [ARM|a Raspberry Pi|a Mac|my PC|a laptop|an old PC|Intel|a mini PC]',
      'can I [run|use] it on [a Raspberry Pi|a Mac|my laptop|my PC|ARM|an old PC]', 'requirements',
      'does it [need|support|work with|boot with] [UEFI|BIOS|legacy BIOS|AVX2|AVX-512|secure '
      'hardware]',
      'UEFI or BIOS'],
     ['what kind of PC do I need', 'tell me the hardware requirements'],
     'x86-64 PC or VM'),
    ('ram',
     'The model file must fit in memory, with some room for the context. With me alone it starts '
     'with 512 MB.',
     ['how much [memory|RAM] [do I need|does it need|is needed|does it use|is required|does a '
      'model need]',
      '$WHICH [memory|RAM] [do I need|is needed]',
      'is [4 GB|8 GB|16 GB|512 MB|32 GB|1 GB] [of RAM |of memory |]enough',
      'what is the [least|minimum|minimal] [memory|RAM]',
      'how [big|large] a model [fits|can I run|can I use|can it run]',
      'memory [requirements|needed]', 'will [a 7B|a 70B|a big|a large] model fit[| in memory]'],
     ['how many GB of RAM are needed', 'what is the smallest amount of memory'],
     'must fit in memory'),
    ('slow',
     'Use a smaller model or Q4_K_M, keep threads = 0 and ask GET /health which device is used.',
     ['why is it [so |very |]slow',
      '$HOW [make it faster|speed it up|get more speed|improve the speed|make it quicker]',
      'it is [too |very |so |]slow', 'the answers [are slow|come slowly|take too long]',
      'how can it be faster', 'why does it take so long', 'more speed please'],
     ['what can be done to make it faster', 'why are the answers so slow'],
     'smaller model or Q4_K_M'),
    ('network',
     'It takes its address by DHCP on the wired network. For a fixed address, make a reservation '
     'in your router.',
     ['$HOW [set|configure|give it|use|assign] [a static IP|a static address|a fixed address|a '
      'fixed IP|the IP address|the network|an IP address]',
      'does it [use|need|support] [DHCP|a static address]',
      'how does it get [its|an] [address|IP|IP address]', '$HOW connect it to the network',
      'network [settings|configuration|setup]', 'can it have a [fixed|static] [address|IP]'],
     ['I need a static IP address', 'where does it get its IP from'],
     'DHCP'),
    ('wifi',
     'No: only the wired network is used. Connect a network cable.',
     ['does it [support|use|have|work with|work over] [Wi-Fi|WiFi|wifi|wireless|WLAN]',
      '$HOW [connect|use|configure|set up] [to |][Wi-Fi|WiFi|wifi|a wireless network|wireless|'
      'WLAN]',
      'can I use [Wi-Fi|WiFi|wifi|wireless]', 'is [Wi-Fi|WiFi|wifi|wireless] [supported|possible]',
      'wifi'],
     ['will Wi-Fi work', 'is a wireless connection possible'],
     'only the wired network'),
    ('address',
     'The console shows the address at boot; your router knows it too.',
     ['$WHERE [the|its|your] [address|IP address|IP|URL|network address]',
      "[what is|what's] [the|your|its] [address|IP address|IP|URL|network address]",
      '$HOW [find|see|know] [the address|its address|the IP|the IP address|the URL]',
      'which [address|IP|IP address|URL] [does it have|do you have|do I use|is it]',
      'on which address are you', 'what do I write for ADDRESS'],
     ['how could I see its IP address', 'tell me the address of this box'],
     'console shows the address'),
    ('data',
     'The data partition (label tawny-data, ext4) holds the folder tawny: models, api-key and '
     'tls. It grows to fill the disk at first boot.',
     ['$WHAT the data partition', '[what|which] [is on|files are on] the data partition',
      '$HOW [open|mount|read|reach|access] the data partition',
      'which [file system|filesystem] [does the data partition have|is used|is on the data '
      'partition]',
      'how big is the data partition', '$WHERE [the data partition|my data|the data]',
      'what is the label of the data partition', '[what is|where is] the state directory',
      'what is in /data/tawny', 'which partitions are [there|on the disk]',
      'is the disk used completely'],
     ['which things are kept on the data partition', 'what file system has the data partition'],
     'label tawny-data'),
    ('windows',
     'The EFI partition with tawny.conf opens on any PC. The data partition is ext4: use a Linux '
     'PC to copy models to it.',
     ['can I [edit|change|read] [tawny.conf|the settings|it|the disk] [with|on|from] [Windows|a '
      'Mac|macOS]',
      'does it work with [Windows|a Windows PC]',
      'can I copy [a model|models] [with|from] [Windows|a Mac|macOS]',
      'I [have|use] [Windows|a Mac|only Windows]',
      'why can [Windows|my Mac|Windows not|my PC] not [read|open|see] the data partition'],
     ['may I edit the settings on a Windows PC', 'I only use Windows, can I copy models'],
     'use a Linux PC'),
    ('size',
     'I have about 5 million parameters and a vocabulary of 3328 tokens; my file is under 8 MB.',
     ['how [big|large|small] are you', 'how many [parameters|weights] do you have',
      'what is your size', 'how many [tokens|words] [do you know|are in your vocabulary]',
      'how big is [the built-in model|your file|your vocabulary]', 'are you [big|small|large]',
      'how large is your [vocabulary|network]'],
     ['what size do you have', 'how many parameters are in you'],
     '5 million parameters'),
    ('trained',
     'I was trained from scratch on text made by the source tree itself; the script is '
     'engine/builtin/train.py.',
     ['[who|how were you|where were you|on what were you|when were you] [made|trained|built|'
      'created][| you]',
      'who [made|built|created|trained|wrote] you',
      '[what is|where is] your training [data|text|script]',
      'how were you [made|trained|built|created]', 'what were you trained on',
      'are you [based on|made from] [Llama|Qwen|another model|GPT]',
      'who is your [maker|author|creator]'],
     ['how did you get trained', 'on which text were you trained'],
     'trained from scratch'),
    ('licence',
     'Tawny has the MIT licence: you may use, change and share it. The notices of everything in '
     'it are on the box.',
     ['[what|which] [is the |]licen[c|s]e [does it have|is it under|is used|of Tawny]',
      'is it [free|open source|free software|for free|free of charge]',
      'may I [use it commercially|share it|copy it|change it|sell it]', 'what does it cost',
      'how much does it cost', 'what is the licen[c|s]e', 'where is the source code',
      'is Tawny [free|open source|free software]', 'can I use it at work'],
     ['which licence has Tawny', 'is Tawny free of charge'],
     'MIT licence'),
    ('language',
     'I understand simple English only. A larger model can speak your language.',
     ['[do you|can you] [speak|understand|know] [German|French|Spanish|Chinese|other languages|'
      'Italian|my language|Russian|Japanese]',
      'which languages do you [speak|know|understand]', 'what languages [do you speak|do you know]',
      'sprichst du Deutsch', 'parlez-vous francais', 'hablas espanol',
      'can you answer in [German|French|Spanish]'],
     ['are you able to speak German', 'which other languages can you understand'],
     'simple English only'),
    ('better',
     'Add a larger model: copy a GGUF file to the models folder on the data partition, name it in '
     'tawny.conf and restart.',
     ['$HOW [get|have] [better|smarter|longer] answers',
      'you are [stupid|dumb|not very smart|useless|not smart|bad|wrong]',
      'why are you so [stupid|dumb|small|limited|simple]', 'can you be [smarter|better|cleverer]',
      'your answer [is|was] [wrong|bad|stupid|useless]',
      'that is [wrong|not right|a bad answer|not true]', 'why do you know so little'],
     ['how could the answers be better', 'why are you not smarter'],
     'Add a larger model'),
    ('owl',
     'The tawny owl (Strix aluco) is a brown owl of the woods of Europe, about 38 cm long, that '
     'hunts at night.',
     ['$WHAT [a tawny owl|the tawny owl|tawny owls]',
      'what [kind of bird|bird|animal] is [a|the] tawny owl',
      'tell me [something |]about [the tawny owl|tawny owls|owls]', 'describe [a|the] tawny owl',
      'how [big|large|long] is a tawny owl', 'where do tawny owls live',
      'what does a tawny owl look like', 'what is Strix aluco', 'when do tawny owls hunt',
      'tawny owl'],
     ['please describe what a tawny owl is', 'where would a tawny owl live'],
     'Strix aluco'),
    ('owleat',
     'Tawny owls eat mice and voles, and also small birds, frogs, beetles and earthworms.',
     ['what do [tawny owls|owls] eat', 'what does a tawny owl [eat|feed on|hunt]',
      'what is the [food|prey|diet] of [a tawny owl|tawny owls|the tawny owl]',
      'do [tawny owls|owls] eat [mice|birds|frogs|worms]'],
     ['which food does the tawny owl eat', 'what prey do tawny owls hunt'],
     'mice and voles'),
    ('owlcall',
     'The male hoots a long hoo-hoo, and the female answers with a sharp kewick.',
     ['[what|which] [sound|noise|call] does a tawny owl make',
      'how does a tawny owl [sound|call|hoot]', 'what does a tawny owl [say|sound like]',
      'make the sound of [a tawny owl|an owl]', 'do tawny owls hoot',
      'what is the call of the tawny owl'],
     ['which sounds do tawny owls make', 'how do tawny owls call'],
     'kewick'),
    ('hello',
     'Hello! I am the small model built into Tawny. Ask me about this appliance.',
     ['hi', 'hello', 'hey', 'good [morning|evening|afternoon|day]',
      'hello [there|Tawny|you|friend]', 'hi [there|Tawny|you]', 'hey [there|Tawny]', 'greetings',
      'hello, how are you', 'how are you', 'hi, how are you[| today]', 'how are you [doing|today]',
      'nice to meet you', 'is anybody there', 'are you there', 'test', "what's up", 'howdy'],
     ['hello hello', 'good morning Tawny'],
     '^Hello!'),
    ('thanks',
     'You are welcome.',
     ['thanks', 'thank you[| very much| so much]',
      'thanks [a lot|for your help|for the help|very much|Tawny]',
      'thank you for [your help|the answer|helping me]', 'great, thank you', 'perfect, thanks',
      'that helped[|, thanks|, thank you]', 'good[| answer| job]', 'well done', 'very good', 'cool',
      'great', 'nice', 'ok', 'ok thanks'],
     ['thank you Tawny', 'great, thanks a lot'],
     'You are welcome'),
    ('bye',
     'Goodbye! I am here when you need me.',
     ['bye', 'goodbye', 'see you[| later| soon| tomorrow]', 'good night', 'bye bye',
      'I have to go[| now]', 'farewell', 'until later', 'that is all[|, bye]', 'have a nice day'],
     ['ok bye', 'good night, see you tomorrow'],
     '^Goodbye'),
]

DONTKNOW = ('I do not know. I am a small built-in model: I know this appliance and a few simple '
            'tasks. For more, add a larger model.')
# Things outside its world, as topics and as whole questions: all get DONTKNOW.
TOPICS = '''
the weather|the weather in Berlin|football|the football results|quantum physics|
the theory of relativity|the Roman empire|the French revolution|photosynthesis|black holes|
the stock market|bitcoin|the president|the election|the news|cooking|pizza|chocolate cake|
the second world war|Shakespeare|Mozart|Beethoven|music theory|a poem|the moon|Mars|the sun|
the solar system|dinosaurs|evolution|DNA|vaccines|diabetes|headaches|my tax return|the law|divorce|
gardening|roses|chess|poker|the guitar|the piano|a haiku|calculus|linear algebra|prime numbers|
the Pythagorean theorem|machine learning|neural networks|transformers|Python|Rust|JavaScript|C++|
SQL|Docker|Kubernetes|Linux kernels|Windows 11|the Eiffel tower|the Great Wall|the pyramids|
Mount Everest|the Nile|the ocean|whales|cats|dogs|horses|elephants|penguins|eagles|trees|
climate change|solar power|nuclear power|electric cars|the price of gold|my horoscope|
the meaning of life|love|happiness|God|philosophy|Plato|Kant|Einstein|Newton|Napoleon|Cleopatra|
the Beatles|Star Wars|Harry Potter|a movie|a good book|a novel|the best restaurant|a hotel in Rome|
cheap flights|my homework|an essay|a business plan|a cover letter|my resume|interest rates|
inflation|a diet|yoga|running|sleep|dreams|coffee|tea|wine|beer|bread|cheese|a recipe for soup|
pasta|sushi|the Olympics|tennis|basketball|cricket|skiing|swimming|the calendar|Christmas|Easter|
birthdays'''.replace('\n', '').split('|')
OUT = [
    '[tell me|what do you know|tell me something|talk to me] about $TOPIC',
    'explain $TOPIC[| to me| in simple words]', 'what is $TOPIC',
    'who [invented|discovered|knows] $TOPIC',
    'write [a poem|a story|an essay|an article|a song|a joke|a letter] about $TOPIC',
    'why is $TOPIC [important|famous|interesting|so hard|so popular]', 'how does $TOPIC work',
    'what do you think about $TOPIC', 'do you like $TOPIC',
    'give me [facts|information|advice|tips|news] about $TOPIC', 'what is the history of $TOPIC',
    'I want to learn about $TOPIC', 'summarize $TOPIC', 'teach me $TOPIC',
    'when [was|did] $TOPIC [start|begin|made|end]', 'help me with $TOPIC', 'describe $TOPIC',
    'who is [the president|the king of England|the pope|Elon Musk|the chancellor|your favourite '
    'singer|Taylor Swift|Albert Einstein|the best player|my neighbour|Ada Lovelace]',
    'what [time|day|date|year] is it[| today| now]',
    '[what is|how is] the weather[| today| like| tomorrow| in London| in Paris]',
    'will it rain [today|tomorrow]', 'tell me a [joke|story|secret|riddle|fairy tale]',
    'write a [poem|story|python program|song|book|letter|function in C|bash script|website]',
    'sing [a song|for me]',
    'translate [this|hello|good morning|a sentence|cat|my letter] [to|into] [German|French|'
    'Spanish|Latin]',
    'how old are you', 'where do you live', 'do you love me',
    'what is your favourite [color|food|book|song|animal|film]',
    'are you [happy|alive|sad|conscious]', 'how tall is [Mount Everest|the Eiffel tower|a giraffe]',
    'how far is the [moon|sun]',
    'how many [people live in China|stars are there|days are in a year|planets are there|legs has '
    'a spider]',
    'when was [Mozart|Napoleon|the president|Goethe] born',
    'who [wrote|painted|composed] [Hamlet|Faust|the Mona Lisa|the ninth symphony|the Odyssey]',
    'who won [the world cup|the election|the match|the race|the war]',
    'what is the [best|biggest|fastest|oldest|smallest] [car|country|city|animal|film|book|river|'
    'mountain|phone]',
    'can you [drive a car|cook|dance|swim|see me|hear me|play chess|draw a picture|search the web|'
    'open a website|send an email|call my mother]',
    'what is the [square root|logarithm] of [2|16|81|100]',
    'what should I [eat|wear|buy|read|watch|cook][| today| tonight]',
    'play [chess|music|a game|a song]', 'is there life on [Mars|the moon|other planets]',
    'what is the population of [Germany|India|Berlin|the world]',
    'which [car|phone|laptop|bank|school] should I buy', 'fix my [code|bug|program|car|bike]',
    'review my [code|text|essay]',
]
OUT_HELDOUT = [
    'tell me about the history of Rome', 'who painted the Last Supper',
    'write a long poem about the sea', 'how does a jet engine work', 'what is the price of a house',
    'explain general relativity in simple words',
]
