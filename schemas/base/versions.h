/* What --version prints: the program's and the linked libraries' versions. */
#pragma once

#include <stdio.h>

/** Prints one line for the program and one for each library it is linked with. */
void versions_print(FILE *out, const char *program);

/** Adds a library to what is printed; `version` is static. Call before versions_print. */
void versions_add(const char *library, const char *version);
