"""world.py - the tools that the built-in model learns to call: some forty of a home, an office and the
examples of client libraries, each with several names, descriptions, names of its arguments and ways
to ask for it; and the values that stand in the questions.

DOMAINS: (id, names, descriptions, parameters, ways to ask, what it answers)
  names       of the tool; [a|b] is a choice in all texts here
  parameters  (names, kind of value): {0}, {1} stand for their values in a way to ask; one that is not
              asked for is optional and left out. A kind is a word of VALUES, or the values themselves
  answers     (key, kind) of the JSON that comes back
CLASH: tools that a person may take for each other. They are never offered together, and nobody asks
for one to be declined while another is offered.
"""
import corpus

PLACES = sorted(set(corpus.CITIES) | set(corpus.CAPITALS.values()) | set('''
Aachen Antwerp Austin Bergen Bilbao Bologna Bremen Brno Bruges Calgary Cologne Cork Dallas Denver
Dresden Florence Galway Ghent Graz Hamburg Houston Izmir Krakow Leeds Leipzig Linz Lyon Malaga
Malmo Miami Naples Nice Osaka Phoenix Pisa Quebec Salzburg Seattle Seville Tampa Toronto Turin
Turku Utrecht Verona Zurich'''.split()))
THINGS = '''apple bird boat book box bread brush bus cake car chair cheese clock coat coin cup desk door
egg fish flag flower glass hat honey horse key knife lamp leaf lemon map melon onion orange paper pear
pen piano plant plate plum ring rope rose ship shoe spoon stone table tea tiger train tree wheel
window'''.split()
ROOMS = '''kitchen bathroom bedroom office hall garage cellar attic workshop library garden living
dining guest'''.split()
ROOMS = [r + ' room' if r in ('living', 'dining', 'guest') else r for r in ROOMS]
SKIES = 'clear cloudy rainy foggy stormy snowy windy sunny'.split()
STATES = 'open closed ready busy late free full empty done lost'.split()
LANGUAGES = 'German|French|Spanish|Italian|Latin|Dutch'
MONEY = 'euros|dollars|pounds|francs|crowns'
CODES = 'AAPL MSFT GOOG AMZN TSLA NVDA META NFLX IBM SAP BMW INTC ORCL AMD SONY'.split()


def phrase(rng):
    """what people write to each other or want to remember"""
    c = rng.choice
    return c([
        lambda: '%s %s' % (c(['I am', 'we are', 'the car is', 'dinner is', 'the door is']),
                           c(['late', 'ready', 'at home', 'open', 'free', 'here', 'done'])),
        lambda: '%s the %s' % (c(['buy', 'clean', 'water', 'find', 'open', 'paint', 'bring', 'take']),
                               c(THINGS)),
        lambda: '%s %s' % (c(['call', 'visit', 'thank', 'ask', 'meet', 'help']), c(corpus.NAMES)),
        lambda: 'the %s is in the %s' % (c(THINGS), c(ROOMS))])()


def some_words(rng):
    return ' '.join(rng.sample(corpus.WORDS, rng.randint(1, 3)))


VALUES = {
    'place': lambda rng: rng.choice(PLACES),
    'person': lambda rng: rng.choice(corpus.NAMES),
    'item': lambda rng: rng.choice(THINGS),
    'room': lambda rng: rng.choice(ROOMS),
    'sky': lambda rng: rng.choice(SKIES),
    'state': lambda rng: rng.choice(STATES),
    'symbol': lambda rng: rng.choice(CODES),
    'number': lambda rng: rng.randint(2, rng.choice([20, 99, 99, 999])),
    'small': lambda rng: rng.randint(2, 60),
    'degrees': lambda rng: rng.randint(10, 30),
    'percent': lambda rng: rng.randint(1, 100),
    'time': lambda rng: '%02d:%02d' % (rng.randint(0, 23), rng.choice([0, 15, 30, 45,
                                                                       rng.randint(0, 59)])),
    'date': lambda rng: '20%d-%02d-%02d' % (rng.randint(25, 29), rng.randint(1, 12),
                                            rng.randint(1, 28)),
    'code': lambda rng: '%s%d' % (''.join(rng.sample(corpus.ALPHABET, 2)).upper(),
                                  rng.randint(10, 999)),
    'file': lambda rng: rng.choice(corpus.WORDS) + rng.choice(['.txt', '.txt', '.md', '.csv', '.pdf',
                                                               '.log']),
    'phrase': phrase,
    'words': lambda rng: some_words(rng) if rng.random() < 0.7 else phrase(rng),
}
NUMBERS = ('number', 'small', 'degrees', 'percent')
FREE = ('words', 'phrase')             # free text: nothing shows where it ends

CITY = ('city|city|location|place', 'place')
PERSON = 'name|person|contact'
ROOM = ('room|room|area', 'room')
ITEM = ('item|product|item', 'item')
FILE = ('path|file|filename|path', 'file')
TWO = [('a|a|x|first', 'number'), ('b|b|y|second', 'number')]

DOMAINS = [
    ('weather', 'get_weather|get_current_weather|weather|fetch_weather',
     'Get the weather in a city|The current weather of a place',
     [CITY, ('unit', 'celsius|fahrenheit')],
     ['[what is|how is|tell me|show me] the weather [in|today in|now in|like in] {0}',
     'what is the weather in {0} in {1}', 'how is the weather in {0}, in {1}', 'weather in {0}'],
     [('temperature', 'degrees'), ('sky', 'sky')]),
    ('forecast', 'get_forecast|weather_forecast|forecast|getForecast',
     'The weather forecast for the next days|Get the forecast of a city for some days',
     [CITY, ('days', 'small')],
     ['[what is|show me|get] the forecast for {0} for {1} days', 'forecast for {0}, {1} days'],
     [('sky', 'sky'), ('high', 'degrees')]),
    ('time', 'get_local_time|get_time|city_time|world_clock',
     'The time of day in a city|Get the current time in a city',
     [('city|location|place|timezone', 'place')],
     ['what time is it in {0}', '[tell me|what is|I need] the time in {0}', 'time in {0}',
     'what is the [local|current] time in {0}'],
     [('time', 'time')]),
    ('now', 'now|get_time|get_current_time|clock', 'The time of day|Get the current time', [],
     ['what time is it[| now]', 'what is the [|current ]time', 'tell me the time',
     'do you have the time'],
     [('time', 'time')]),
    ('date', 'get_date|today|get_current_date|date', 'The date of today|Get the current date',
     [],
     ['what [day|date] is it[| today]', "what is [today's date|the date][| today]",
     'which day is today', 'tell me the date'],
     [('date', 'date')]),
    ('mail', 'send_email|send_mail|mail|sendEmail', 'Sends an email|Send an email to a person',
     [('to|recipient|to', 'person'), ('text|body|text', 'words')],
     ['[send|write] [a mail|an email|an e-mail] to {0}: {1}', 'mail {0}: {1}',
     '[send|write] {0} [a mail|an email]: {1}', 'send {0} an email that says "{1}"'],
     [('status', 'state')]),
    ('message', 'send_message|send_sms|text_message|sendMessage',
     'Sends a text message to a phone|Send an SMS to a person',
     [('to|recipient|person', 'person'), ('message|text|message', 'words')],
     ['[send|write] [a text message|a text|an SMS] to {0}: {1}', 'text {0}: {1}',
     'send {0} [an SMS|a text message] that says "{1}"'],
     [('status', 'state')]),
    ('phone', 'call_person|make_call|phone|dial', 'Calls a person by phone|Make a phone call',
     [(PERSON, 'person')],
     ['[call|phone|ring|dial] {0}', 'I want to [talk to|speak with|phone] {0}',
     'make a phone call to {0}'],
     [('line', 'state')]),
    ('contact', 'get_contact|find_phone_number|phone_number|lookup_contact',
     'The phone number of a person|Finds the phone number of a contact', [(PERSON, 'person')],
     ['what is the [phone |telephone |]number of {0}', '[find|look up] the phone number of {0}',
     'I need the [phone|telephone] number of {0}'],
     [('number', 'number')]),
    ('light', 'turn_on_light|set_light|switch_light|light',
     'Switches the light of a room|Turns a light on or off',
     [ROOM, ('state|state|power', 'on|off')],
     ['[switch|turn] {1} the [light|lamp|lights] in the {0}',
     '[switch|turn] the {0} [light|lamp|lights] {1}', 'light {1} in the {0}',
     '[switch|turn] the [light|lights] in the {0} {1}'],
     [('light', 'state')]),
    ('dim', 'dim_light|set_brightness|dim|brightness',
     'Sets the brightness of a lamp|Dims the light of a room',
     [ROOM, ('brightness|percent|level', 'percent')],
     ['dim the [light|lamp|lights] in the {0} to {1} percent',
     'set the brightness in the {0} to {1}', 'make the light in the {0} {1} percent bright'],
     [('brightness', 'percent')]),
    ('heat', 'set_temperature|set_heating|thermostat|set_thermostat',
     'Sets the temperature of a room|Adjusts the heating',
     [ROOM, ('degrees|temperature|value', 'degrees')],
     ['[set|heat|bring] the {0} to {1} degrees',
     'set the [heating|temperature|thermostat] in the {0} to {1}'],
     [('temperature', 'degrees')]),
    ('warm', 'get_temperature|read_temperature|room_temperature|thermometer',
     'How warm a room is|Reads the thermometer of a room', [ROOM],
     ['how [warm|cold] is [it in |]the {0}', 'what is the temperature [in|of] the {0}',
     'read the thermometer in the {0}'],
     [('temperature', 'degrees')]),
    ('lock', 'lock_door|set_lock|door_lock|lock',
     'Locks or unlocks a door|Controls the lock of a door',
     [('door|door|room', 'room'), ('action|action|state', 'lock|unlock')],
     ['{1} the [door of the {0}|{0} door]', 'please {1} the {0}'],
     [('door', 'state')]),
    ('vacuum', 'start_vacuum|vacuum|clean_room|robot_vacuum',
     'Starts the vacuum robot in a room|Vacuums a room', [ROOM],
     ['[vacuum|clean] the {0}', 'start the vacuum in the {0}'],
     [('robot', 'state')]),
    ('camera', 'get_camera|camera|take_photo|show_camera',
     'Takes a picture with a camera|Shows the camera of a room', [ROOM],
     ['show me the camera [in|of] the {0}', 'take a [photo|picture] of the {0}'],
     [('camera', 'state')]),
    ('alarm', 'set_alarm|alarm|create_alarm|wake_up', 'Sets an alarm|Sets the alarm clock',
     [('time|time|at', 'time')],
     ['[set an alarm|wake me] [at|for] {0}', 'alarm at {0}', 'wake me up at {0}'],
     [('alarm', 'state')]),
    ('timer', 'start_timer|set_timer|timer|countdown', 'Starts a timer|Set a timer',
     [('minutes|minutes|duration', 'small')],
     ['[start|set] a timer [of|for] {0} minutes', 'count down {0} minutes', 'timer, {0} minutes',
     'set a {0} minute timer'],
     [('timer', 'state')]),
    ('event', 'create_event|add_event|schedule_meeting|create_appointment',
     'Adds a meeting to the calendar|Schedule a meeting or an appointment',
     [('person|person|guest', 'person'), ('date|date|day', 'date')],
     ['[plan|book|add|schedule] a meeting with {0} on {1}',
     'make an appointment with {0} on {1}'],
     [('meeting', 'state')]),
    ('agenda', 'get_events|list_events|get_calendar|calendar',
     'What is in the calendar on a day|Lists the meetings of a day', [('date|date|day', 'date')],
     ['what is [in|on] my calendar on {0}', '[list|show] my [events|meetings] on {0}'],
     [('events', 'small')]),
    ('todo', 'add_todo|create_task|add_task|todo', 'Adds a line to the to-do list|Adds a task',
     [('task|task|title|text', 'phrase')],
     ['add to my to-do list: {0}', 'new task: {0}', 'put "{0}" on my to-do list',
     'add a task: {0}'],
     [('tasks', 'small')]),
    ('remind', 'set_reminder|create_reminder|remind_me|reminder',
     'Reminds you of something at a time|Sets a reminder',
     [('time|time|at', 'time'), ('text|text|message', 'phrase')],
     ['remind me at {0}: {1}', 'set a reminder for {0}: {1}', 'at {0} remind me of this: {1}'],
     [('reminder', 'state')]),
    ('note', 'save_note|take_note|create_note|write_note', 'Saves a note|Takes a note',
     [('text|text|content', 'words')],
     ['[take|save|make] a note: {0}', 'note: {0}', 'save the note "{0}"'],
     [('notes', 'small')]),
    ('shop', 'add_to_cart|order_item|buy|order', 'Buys an item|Orders an item',
     [ITEM, ('count|quantity|amount', 'small')],
     ['[buy|order] {1} pieces of {0}', '[order|buy] {0}, {1} pieces', 'I want to buy {1} of {0}'],
     [('total', 'number')]),
    ('stock', 'check_stock|get_stock|inventory|stock_count',
     'How many of a thing are in stock|Checks the stock of an item', [ITEM],
     ['[how many|how much] {0} [is|are] in stock', 'check the stock of {0}',
     'do we have {0} in stock'],
     [('count', 'number')]),
    ('price', 'get_price|find_price|product_price|price',
     'The price of a thing|Says what something costs', [ITEM],
     ['what does [a|the] {0} cost', '[find|tell me] the price of the {0}', 'price of {0}',
     'how much is the {0}'],
     [('price', 'number')]),
    ('share', 'get_stock_price|stock_price|share_price|getStockPrice',
     'The price of a share|Get the stock price of a company',
     [('symbol|symbol|ticker', 'symbol')],
     ['what is the [stock|share] price of {0}', 'how much is a share of {0}',
     '[stock|share] price of {0}'],
     [('price', 'number')]),
    ('money', 'convert_currency|exchange|currency|convert_money',
     'Converts money into another currency|Currency converter',
     [('amount|amount|value', 'number'), ('from', MONEY), ('to', MONEY)],
     ['[convert|change|exchange] {0} {1} [to|into] {2}', 'how much is {0} {1} in {2}',
     '{0} {1} in {2}'],
     [('amount', 'number')]),
    ('route', 'get_directions|find_route|plan_route|route',
     'Finds the way between two cities|Get directions from one place to another',
     [('from|from|origin|start', 'place'), ('to|to|destination|end', 'place')],
     ['[how do I get|find the way|plan a route] from {0} to {1}', 'route from {0} to {1}',
     'directions from {0} to {1}'],
     [('distance', 'number')]),
    ('train', 'find_trains|search_trains|train_times|next_train',
     'Finds trains to a city|The next trains',
     [('to|destination|city', 'place'), ('time|after|departure', 'time')],
     ['[find|show] a train to {0} after {1}', 'trains to {0} after {1}',
     'I want to go to {0} by train after {1}', 'which train goes to {0} after {1}'],
     [('departure', 'time'), ('platform', 'small')]),
    ('flight', 'book_flight|find_flights|search_flights|flight',
     'Finds flights between two cities|Books a flight',
     [('from|origin|from', 'place'), ('to|destination|to', 'place')],
     ['[find|book] a flight from {0} to {1}', 'I want to fly from {0} to {1}',
     'flights from {0} to {1}'],
     [('flight', 'code'), ('departure', 'time')]),
    ('hotel', 'find_hotel|book_hotel|search_hotels|hotel',
     'Finds a hotel|Books a hotel room in a city', [CITY, ('nights|nights|days', 'small')],
     ['[find|book] a hotel in {0} for {1} nights', 'I need a hotel in {0} for {1} nights'],
     [('hotel', 'item'), ('price', 'number')]),
    ('word', 'translate|translate_text|translator|translateText',
     'Translates a text into another language|Translate text',
     [('text|text|words', 'words'), ('language|to|target', LANGUAGES)],
     ['translate "{0}" [to|into] {1}', 'what is "{0}" in {1}', '[say|write] "{0}" in {1}'],
     [('translation', 'words')]),
    ('add', 'add|add_numbers|sum|plus', 'Adds two numbers|Add a and b', TWO,
     ['add {0} and {1}', 'what is {0} plus {1}', 'what is {0} + {1}', 'how much is {0} + {1}',
     'what is the sum of {0} and {1}', '{0} + {1}'],
     [('sum', 'number')]),
    ('multiply', 'multiply|multiply_numbers|product|times',
     'Multiplies two numbers|Multiply a and b', TWO,
     ['multiply {0} and {1}', 'multiply {0} by {1}', 'what is {0} times {1}', '{0} * {1}',
     'how much is {0} * {1}', 'what is the product of {0} and {1}'],
     [('product', 'number')]),
    ('subtract', 'subtract|minus|subtract_numbers|difference',
     'Subtracts a number from another|Subtracts b from a', TWO,
     ['what is {0} minus {1}', 'how much is {0} - {1}', '{0} - {1}', 'what is {0} - {1}'],
     [('difference', 'number')]),
    ('read', 'read_file|open_file|read|load_file', 'Reads a file|Read the contents of a file',
     [FILE],
     ['[read|open|show me|load] [the file |]{0}', '[what is|what stands] in the file {0}',
     'show the file {0}'],
     [('size', 'number')]),
    ('delete', 'delete_file|remove_file|delete|erase_file',
     'Deletes a file|Removes a file for good', [FILE],
     ['[delete|remove|erase] [the file |]{0}'],
     [('file', 'state')]),
    ('list', 'list_files|ls|list_directory|listFiles',
     'Lists the files of the folder|List files', [],
     ['[list|show] [my|the|all] files', 'which files are [here|there]'],
     [('files', 'small')]),
    ('music', 'play_music|play_song|music|play', 'Plays a song|Plays music',
     [('title|song|title', 'words')],
     ['play [the song|] "{0}"', 'I want to hear the song "{0}"', 'put on the song "{0}"',
     'play the song {0}'],
     [('player', 'state')]),
    ('volume', 'set_volume|volume|change_volume',
     'Sets the volume of the sound|Sets how loud the music is',
     [('level|volume|percent', 'percent')],
     ['set the volume to {0}[| percent]', 'volume {0}', 'make the sound {0} percent loud',
     'turn the volume to {0}'],
     [('volume', 'percent')]),
    ('search', 'search|web_search|search_web|google',
     'Searches the web|Search the web for information', [('query|query|text', 'words')],
     ['[search|look in] the [web|internet] for {0}', 'search for {0}', 'google {0}',
     'what does the [web|internet] say about {0}'],
     [('hits', 'number')]),
    ('parcel', 'track_parcel|track_package|parcel_status|tracking',
     'Where a parcel is|Tracks a package', [('code|code|number|id', 'code')],
     ['where is [my|the] [parcel|package] {0}', '[track|trace|find] the [parcel|package] {0}'],
     [('place', 'place'), ('status', 'state')]),
    ('user', 'get_customer|find_customer|get_user|lookup_user',
     'Data of a customer|Finds a customer in the database', [('name|customer|name', 'person')],
     ['[show|find|get] the customer {0}', 'look up the customer {0}', 'show the account of {0}'],
     [('city', 'place'), ('orders', 'small')]),
]
CLASH = [{'weather', 'forecast', 'search'}, {'time', 'now'}, {'mail', 'message'},
         {'phone', 'contact', 'user'}, {'light', 'dim'}, {'heat', 'warm'}, {'todo', 'remind', 'note'},
         {'route', 'train', 'flight'}, {'price', 'stock', 'shop', 'search'}, {'share', 'search'},
         {'alarm', 'remind', 'timer'}, {'read', 'list'}, {'event', 'agenda'}, {'camera', 'vacuum'}]


def clash(a, b):
    return a == b or any(a in s and b in s for s in CLASH)
