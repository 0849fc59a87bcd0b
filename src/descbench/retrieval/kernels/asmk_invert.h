/* Inverted files (docs/protocols/asmk.md, Inverted file). */
#ifndef DESCBENCH_ASMK_INVERT_H
#define DESCBENCH_ASMK_INVERT_H

#include "variants.h"

/* Entries in the order of their words, and of coming within a word. `following`: next place of each word. */
static void asmk_place_entries(const int64_t *words, const uint32_t *images, const uint8_t *rows, int64_t entries,
                               int64_t row_bytes, int64_t *following, uint32_t *sorted_images, uint8_t *sorted_rows)
{
    for (int64_t e = 0; e < entries; e++) {
        int64_t place = following[words[e]]++;
        sorted_images[place] = images[e];
        if (row_bytes == 16) memcpy(sorted_rows + place * 16, rows + e * 16, 16);
        else memcpy(sorted_rows + place * row_bytes, rows + e * row_bytes, (size_t)row_bytes);
    }
}

/* norms[image] += weight of each of its entries' words (1 where `weights` is NULL), in the order of the lists.
   Returns the first entry of an image that does not exist, or -1. */
static int64_t asmk_image_norms(const int64_t *offsets, int64_t num_words, const uint32_t *images,
                                uint32_t first_image, int64_t num_images, const float *weights, double *norms)
{
    for (int64_t word = 0; word < num_words; word++) {
        double weight = weights ? (double)weights[word] : 1.0;
        for (int64_t e = offsets[word]; e < offsets[word + 1]; e++) {
            int64_t image = (int64_t)images[e] - (int64_t)first_image;
            if (image < 0 || image >= num_images) return e;
            norms[image] += weight;
        }
    }
    return -1;
}

#endif
