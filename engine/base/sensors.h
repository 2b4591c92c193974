// sensors.h - floor 0: temperatures, power, clocks and fans, as the kernel's drivers tell them
// (/sys/class/hwmon; of an AMD GPU also how busy it is), and the processor's clock.
//
// To ask a driver may take long, or for ever where a GPU hangs: a thread of its own does it, when
// somebody wants to know, and whoever asks gets what it found last.
#pragma once

#include "base.h"

enum sensor_kind {
    SENSOR_TEMPERATURE, // in degrees Celsius
    SENSOR_POWER,       // W
    SENSOR_CLOCK,       // MHz
    SENSOR_FAN,         // turns a minute
    SENSOR_BUSY,        // %
};
struct sensor {
    char device[24], name[24]; // "amdgpu", "edge"; name: "" where the driver gives it none
    enum sensor_kind kind;
    double value;
};
enum { SENSORS_MOST = 48 };

// What there is below `root` ("" is the machine's own), now, at most `room`.
size_t sensors_read(const char *root, struct sensor *out, size_t room);

struct sensors;
void sensors_open(struct sensors **out);
// Has them read anew where the last reading is a second old, and copies what the last one found: of
// 15 seconds ago at most, else none. Waits 20 ms where there was none at all so far.
size_t sensors_ask(struct sensors *sensors, struct sensor out[SENSORS_MOST]);
void sensors_close(struct sensors *sensors); // NULL: nothing
