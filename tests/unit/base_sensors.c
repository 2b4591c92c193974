// base_sensors.c - what is read of a faked /sys as an AMD box has it, what is left out, and the
// thread that reads.
#include "../../engine/base/sensors.h"
#include "check.h"
#include "fake_root.h"

static const struct sensor *found(const struct sensor *list, size_t n, const char *device,
                                  const char *name, enum sensor_kind kind)
{
    for (size_t i = 0; i < n; i++)
        if (list[i].kind == kind && strcmp(list[i].device, device) == 0 &&
            strcmp(list[i].name, name) == 0)
            return &list[i];
    return NULL;
}

static bool is(const struct sensor *list, size_t n, const char *device, const char *name,
               enum sensor_kind kind, double value)
{
    const struct sensor *one = found(list, n, device, name, kind);
    return one && one->value > value - 1e-6 && one->value < value + 1e-6;
}

static void a_box(void)
{
    struct sensor list[SENSORS_MOST];
    fake_begin();
    CHECK(sensors_read(fake_root, list, SENSORS_MOST) == 0);
    fake_file("/sys/class/hwmon/hwmon0/name", "nvme\n");
    fake_file("/sys/class/hwmon/hwmon0/temp1_input", "38850\n");
    fake_file("/sys/class/hwmon/hwmon0/temp1_label", "Composite\n");
    fake_file("/sys/class/hwmon/hwmon3/name", "amdgpu\n");
    fake_file("/sys/class/hwmon/hwmon3/temp1_input", "-2000\n");
    fake_file("/sys/class/hwmon/hwmon3/temp1_label", "ed\x1bge\n");
    fake_file("/sys/class/hwmon/hwmon3/power1_average", "55062000\n");
    fake_file("/sys/class/hwmon/hwmon3/power1_label", "PPT\n");
    fake_file("/sys/class/hwmon/hwmon3/freq1_input", "2900000000\n");
    fake_file("/sys/class/hwmon/hwmon3/freq1_label", "sclk\n");
    fake_file("/sys/class/hwmon/hwmon3/fan1_input", "1800\n");
    fake_file("/sys/class/hwmon/hwmon3/temp2_input", "hot\n");
    fake_file("/sys/class/hwmon/hwmon3/temp3_input", "");
    fake_file("/sys/class/hwmon/hwmon3/device/gpu_busy_percent", "97\n");
    fake_file("/sys/class/hwmon/hwmon4/temp1_input", "1000\n"); // without a name
    fake_file("/sys/devices/system/cpu/cpu0/cpufreq/scaling_cur_freq", "3000000\n");
    fake_file("/sys/devices/system/cpu/cpu1/cpufreq/scaling_cur_freq", "5100000\n");
    const size_t n = sensors_read(fake_root, list, SENSORS_MOST);
    CHECK(n == 7);
    CHECK(is(list, n, "nvme", "Composite", SENSOR_TEMPERATURE, 38.85));
    CHECK(is(list, n, "amdgpu", "ed?ge", SENSOR_TEMPERATURE, -2));
    CHECK(is(list, n, "amdgpu", "PPT", SENSOR_POWER, 55.062));
    CHECK(is(list, n, "amdgpu", "sclk", SENSOR_CLOCK, 2900));
    CHECK(is(list, n, "amdgpu", "", SENSOR_FAN, 1800));
    CHECK(is(list, n, "amdgpu", "", SENSOR_BUSY, 97));
    CHECK(is(list, n, "cpu", "", SENSOR_CLOCK, 5100));
    CHECK(sensors_read(fake_root, list, 3) == 3);
    fake_end();
}

// On the machine that tests run on there may be none.
static void the_thread(void)
{
    struct sensors *sensors;
    struct sensor first[SENSORS_MOST], second[SENSORS_MOST];
    sensors_open(&sensors);
    CHECK(sensors_ask(sensors, first) <= SENSORS_MOST);
    CHECK(sensors_ask(sensors, second) <= SENSORS_MOST);
    sensors_close(sensors);
    sensors_open(&sensors);
    sensors_close(sensors);
    sensors_close(NULL);
}

int main(void)
{
    a_box();
    the_thread();
    return check_done("base_sensors");
}
