// First process of tiny: everything that a test may rely on when the shell says that it is ready, then busybox's init.
// One program instead of a script, because under emulation each process costs ten milliseconds and each test pays them.
// Drivers are loaded where the kernel has modules; tiny's own kernel has none, and found its devices by itself.
#include <dirent.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define AGENT_PORT "org.qemu.guest_agent.0"
#define AHCI "pci:*bc01sc06i01*"
#define MODULES "/lib/modules/tiny"     // a link to the modules of this kernel
enum { LOADED_MAX = 128 };

static char *table;                     // lines "PATTERN FILE FILE ...": what to load, in order, for a device's alias
static char *loaded[LOADED_MAX];
static int loaded_count;
static char command_line[4096];

// The file's text, without the newline at its end; "" where there is none.
static const char *text_of(const char *path)
{
    static char text[4096];
    int file = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t size = file < 0 ? 0 : read(file, text, sizeof text - 1);

    if (file >= 0)
        close(file);
    text[size < 0 ? 0 : size] = 0;
    text[strcspn(text, "\n")] = 0;
    return text;
}

static void put(const char *path, const char *text)
{
    int file = open(path, O_WRONLY | O_CLOEXEC);

    if (file < 0)
        return;
    if (write(file, text, strlen(text)) < 0)
        perror(path);
    close(file);
}

// Whether the kernel's command line has the word.
static int asked(const char *word)
{
    size_t length = strlen(word);

    for (const char *at = command_line; (at = strstr(at, word)); at += length)
        if ((at == command_line || at[-1] == ' ') && (at[length] == 0 || at[length] == ' '))
            return 1;
    return 0;
}

static void load(const char *name)
{
    char path[256];
    int file;

    for (int i = 0; i < loaded_count; i++)
        if (strcmp(loaded[i], name) == 0)
            return;
    if (loaded_count == LOADED_MAX)
        return;
    loaded[loaded_count++] = strdup(name);
    snprintf(path, sizeof path, MODULES "/%s.ko", name);
    file = open(path, O_RDONLY | O_CLOEXEC);
    if (file < 0)
        return;
    syscall(SYS_finit_module, file, "", 0);     // a device that does not want its driver is no reason to stop
    close(file);
}

static void load_for(const char *alias)
{
    for (char *line = table, *end; line && *line; line = end + 1) {
        char pattern[256], names[512], *rest;

        if (!(end = strchr(line, '\n')))
            return;
        if (sscanf(line, "%255s %511[^\n]", pattern, names) != 2 || fnmatch(pattern, alias, 0) != 0)
            continue;
        for (char *name = strtok_r(names, " ", &rest); name; name = strtok_r(NULL, " ", &rest))
            load(name);
    }
}

// Calls `visit` with the folder of each device on the bus and its alias.
static void for_each_device(const char *bus, void (*visit)(const char *device, const char *alias))
{
    char path[512];
    struct dirent *entry;
    DIR *folder;

    snprintf(path, sizeof path, "/sys/bus/%s/devices", bus);
    if (!(folder = opendir(path)))
        return;
    while ((entry = readdir(folder))) {
        char device[600], alias[640], value[512];

        if (entry->d_name[0] == '.')
            continue;
        snprintf(device, sizeof device, "%s/%s", path, entry->d_name);
        snprintf(alias, sizeof alias, "%s/modalias", device);
        snprintf(value, sizeof value, "%s", text_of(alias));
        if (*value)
            visit(device, value);
    }
    closedir(folder);
}

// Whether a disk is attached to the AHCI controller, as its ports say (AHCI 1.3.1, 3.1.4 and 3.3.10).
static int has_sata_link(const char *device)
{
    char path[640];
    int file, found = 0;
    volatile unsigned *registers;

    snprintf(path, sizeof path, "%s/resource5", device);
    if ((file = open(path, O_RDONLY | O_CLOEXEC)) < 0)
        return 1;
    registers = mmap(NULL, 4096, PROT_READ, MAP_SHARED, file, 0);
    close(file);
    if (registers == MAP_FAILED)
        return 1;
    for (int port = 0; port < 30; port++)
        if (registers[3] >> port & 1)
            found |= (registers[(0x100 + port * 0x80 + 0x28) / 4] & 0xf) == 3;
    munmap((void *)registers, 4096);
    return found;
}

static int later;                       // devices whose drivers may come after the shell

static void plug(const char *device, const char *alias)
{
    // Drivers of an empty AHCI controller take a third of a second, and q35 always has one.
    if (fnmatch(AHCI, alias, 0) == 0 && !has_sata_link(device))
        later = 1;
    else
        load_for(alias);
}

static void plug_later(const char *device, const char *alias)
{
    (void)device;
    load_for(alias);
}

static void start_agent(void)
{
    char path[300], port[300] = "";
    struct dirent *entry;
    DIR *folder = opendir("/sys/class/virtio-ports");

    while (folder && (entry = readdir(folder))) {
        snprintf(path, sizeof path, "/sys/class/virtio-ports/%s/name", entry->d_name);
        if (strcmp(text_of(path), AGENT_PORT) == 0)
            snprintf(port, sizeof port, "/dev/%s", entry->d_name);
    }
    if (folder)
        closedir(folder);
    if (*port && fork() == 0) {
        int log = open("/run/qemu-ga.log", O_WRONLY | O_CREAT | O_APPEND, 0600);

        setsid();
        dup2(log, 1);
        dup2(log, 2);
        execl("/usr/sbin/qemu-ga", "qemu-ga", "-m", "virtio-serial", "-p", port, "-t", "/run", NULL);
        _exit(127);
    }
}

static void start_power_button(void)
{
    if (fork() == 0) {
        execl("/bin/acpid", "acpid", NULL);
        _exit(127);
    }
}

static void read_table(void)
{
    int file = open(MODULES "/coldplug", O_RDONLY | O_CLOEXEC);
    struct stat about;

    if (file < 0 || fstat(file, &about) || !(table = calloc(1, about.st_size + 1)))
        return;
    if (read(file, table, about.st_size) < 0)
        *table = 0;
    close(file);
}

int main(void)
{
    mount("proc", "/proc", "proc", 0, NULL);
    mount("sys", "/sys", "sysfs", 0, NULL);
    mount("dev", "/dev", "devtmpfs", 0, NULL);
    snprintf(command_line, sizeof command_line, "%s", text_of("/proc/cmdline"));
    put("/proc/sys/kernel/printk", "1");    // the console is the tests'; `dmesg` has the rest, panics are always printed
    put("/proc/sys/kernel/panic", "1");     // seconds until a panic reboots
    sethostname("tiny", 4);

    if (!asked("tiny.agent=0"))
        start_agent();
    read_table();
    if (table) {
        for_each_device("pci", plug);
        for_each_device("virtio", plug);
        for_each_device("scsi", plug);
        load("button");
        load("evdev");
    }
    if (!asked("tiny.powerbutton=0"))
        start_power_button();
    if (later && fork() == 0) {
        if (nice(10) == -1)
            perror("nice");
        for_each_device("pci", plug_later);
        for_each_device("scsi", plug_later);
        _exit(0);
    }
    execl("/bin/busybox", "init", NULL);
    perror("/bin/busybox");
    return 1;
}
