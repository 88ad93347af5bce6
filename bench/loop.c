/* What a loop in C takes for what `bound` does in Python: one pass over Binance's frames, a record filled for each,
   its topic found and counted, a book's levels put into a table a side; nothing is checked, nothing allocated but
   the tables. Texts stay where they stand in the frame, as they may where nobody keeps the record. */

#include <stdlib.h>
#include <string.h>

typedef struct { const char *at; long size; } Text;
typedef struct { Text price; char size[32]; char key[32]; } Level;
typedef struct { Level *levels; long room, held; } Side;
typedef struct { Text symbol; char name[32]; long last, count; Side bids, asks; } Topic;
typedef struct { Text symbol, price, size, best[4]; long number, first, last, time, sent; int is_sell; } Record;

enum { TOPICS = 64, KEPT = 256 };
static Topic topics[TOPICS];
static Record kept[KEPT]; /* as if somebody would read them: else the compiler leaves them out */

static unsigned long hash(Text text) {
    unsigned long sum = 14695981039346656037u;
    for (long i = 0; i < text.size; i++) sum = (sum ^ (unsigned char)text.at[i]) * 1099511628211u;
    return sum;
}

static int same(Text one, Text other) { return one.size == other.size && !memcmp(one.at, other.at, one.size); }

static Topic *topic_of(Text symbol) {
    Topic *topic = topics + hash(symbol) % TOPICS;
    while (topic->symbol.size && !same(topic->symbol, symbol)) topic = topic + 1 < topics + TOPICS ? topic + 1 : topics;
    if (!topic->symbol.size && symbol.size < (long)sizeof topic->name) {
        memcpy(topic->name, symbol.at, symbol.size);
        topic->symbol = (Text){topic->name, symbol.size};
    }
    return topic;
}

static Level *level_of(Side *side, Text price) {
    Level *level = side->levels + hash(price) % side->room;
    while (level->price.size && !same(level->price, price))
        level = level + 1 < side->levels + side->room ? level + 1 : side->levels;
    return level;
}

static void put(Side *side, Text price, Text size) {
    if (price.size >= 32 || size.size >= 32) return;
    if (2 * side->held >= side->room) {
        Side wider = {calloc(side->room ? 2 * side->room : 1024, sizeof(Level)), side->room ? 2 * side->room : 1024, 0};
        for (Level *old = side->levels; old < side->levels + side->room; old++)
            if (old->price.size) put(&wider, old->price, (Text){old->size, strlen(old->size)});
        free(side->levels);
        *side = wider;
    }
    Level *level = level_of(side, price);
    if (!level->price.size) {
        memcpy(level->key, price.at, price.size);
        level->price = (Text){level->key, price.size};
        side->held++;
    }
    memcpy(level->size, size.at, size.size);
    level->size[size.size] = 0;
}

static const char *text(const char *at, Text *found) { /* at the opening quote */
    const char *end = strchr(at + 1, '"');
    *found = (Text){at + 1, end - at - 1};
    return end + 1;
}

static const char *number(const char *at, long *found) {
    long value = 0;
    while (*at >= '0' && *at <= '9') value = 10 * value + *at++ - '0';
    *found = value;
    return at;
}

static const char *levels(const char *at, Side *side) { /* at the outer bracket */
    for (at++; *at == '[' || *at == ','; at++) {
        if (*at == ',') continue;
        Text price, size;
        at = text(at + 1, &price);
        at = text(at + 1, &size);
        put(side, price, size);
    }
    return at + 1;
}

static void take(const char *at, Record *record) { /* at the object's first key */
    Topic *topic = 0;
    while (*at == '"') {
        char key = at[1];
        long other;
        Text *best = key == 'b' ? record->best : key == 'B' ? record->best + 1 : key == 'a' ? record->best + 2 : record->best + 3;
        at = strchr(at + 1, '"') + 2;
        if (*at == '"' && key == 's') {
            at = text(at, &record->symbol);
            topic = topic_of(record->symbol);
        } else if (*at == '"') {
            at = text(at, key == 'p' ? &record->price : key == 'q' ? &record->size : best);
        } else if (*at == '[' && topic) {
            at = levels(at, key == 'b' ? &topic->bids : &topic->asks);
        } else if (*at >= '0' && *at <= '9') {
            at = number(at, key == 'E' ? &record->sent : key == 'T' ? &record->time : key == 'U' || key == 'f' ? &record->first
                            : key == 'u' || key == 'a' || key == 't' ? &record->number : key == 'l' ? &record->last : &other);
        } else {
            if (key == 'm') record->is_sell = *at == 't';
            while (*at != ',' && *at != '}') at++;
        }
        if (*at == ',') at++;
    }
    if (topic) topic->count++, topic->last = record->number;
}

/* Read frames, each ended by a newline and the last by a zero too; how many of them told of a symbol. */
long loop(const char *at) {
    long found = 0;
    for (long frame = 0; *at; frame++) {
        Record *record = kept + frame % KEPT;
        memset(record, 0, sizeof *record);
        const char *end = strchr(at, '\n'), *data = strstr(at, "\"data\":{");
        take(data && data < end ? data + 8 : at + 1, record);
        found += record->symbol.size > 0;
        at = end + 1;
    }
    return found;
}
