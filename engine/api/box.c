// box.c - GET /v1/box: the machine under the server: where it is reached, its time, and what its
// drivers measure (base/sensors.h).
//
// What there is no sensor for is left out, and so are sensors whose driver does not answer: a
// request waits 20 ms at most, and only while no reading at all has come yet.
#include "../base/clock_trust.h"
#include "../base/sensors.h"
#include "inside.h"

#include <stdio.h>
#include <stdlib.h>

static const struct {
    const char *name, *unit;
    int n_decimals;
} kinds[] = {
    [SENSOR_TEMPERATURE] = {"temperature", "C", 1},
    [SENSOR_POWER] = {"power", "W", 1},
    [SENSOR_CLOCK] = {"clock", "MHz", 0},
    [SENSOR_FAN] = {"fan", "rpm", 0},
    [SENSOR_BUSY] = {"busy", "%", 0},
};

static void sensors_write(struct json *json, const struct api *api)
{
    struct sensor list[SENSORS_MOST];
    const size_t n = sensors_ask(api->sensors, list);
    json_array(json, "sensors");
    for (size_t i = 0; i < n; i++) {
        const struct sensor *sensor = &list[i];
        json_object(json, NULL);
        json_string(json, "device", sensor->device);
        if (sensor->name[0])
            json_string(json, "name", sensor->name);
        json_string(json, "kind", kinds[sensor->kind].name);
        json_real(json, "value", sensor->value, kinds[sensor->kind].n_decimals);
        json_string(json, "unit", kinds[sensor->kind].unit);
        json_end(json);
    }
    json_end(json);
}

static void time_write(struct json *json, const struct api *api)
{
    char text[64];
    struct buf file;
    const enum clock_trust trust = clock_trust();
    json_whole(json, "time", clock_unix_s());
    if (trust != CLOCK_UNKNOWN)
        json_bool(json, "time_trusted", trust == CLOCK_TRUSTED);
    json_string(json, "time_servers", api->options.settings ? api->options.settings->ntp : "");
    json_whole(json, "serving_since", api->began_s);
    if (file_read(&file, "/proc/uptime", sizeof(text) - 1, NULL) != OK)
        return;
    snprintf(text, sizeof(text), "%.*s", (int)file.n, (const char *)file.p);
    json_whole(json, "up_s", strtoll(text, NULL, 10));
    buf_free(&file);
}

void box_get(struct api *api, struct exchange *exchange, const struct request *request)
{
    (void)request;
    struct json json;
    char url[128];
    json_init(&json, 64 << 10);
    json_object(&json, NULL);
    json_string(&json, "object", "box");
    json_string(&json, "hostname", api->hostname);
    json_array(&json, "addresses");
    for (size_t i = 0; net_url(api->net, i, url); i++)
        json_string(&json, NULL, url);
    json_end(&json);
    time_write(&json, api);
    sensors_write(&json, api);
    json_end(&json);
    exchange_reply_header(exchange, "Cache-Control", "no-store");
    json_reply(exchange, 200, &json);
}
