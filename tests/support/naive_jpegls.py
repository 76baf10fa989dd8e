"""A JPEG-LS encoder that follows T.87 Annex A line by line, sample by sample: slow, general, sharing nothing with cinemill."""

from __future__ import annotations

from math import ceil, log2

J = [0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7, 8, 9, 10, 11, 12, 13, 14, 15]


class NaiveScan:
    """One scan (or restart interval): components as lists of rows of samples, coded to bytes."""

    def __init__(self, components, *, max_value, near=0, thresholds, reset=64, interleave=0):
        self.components, self.max_value, self.near, self.reset = components, max_value, near, reset
        self.t1, self.t2, self.t3 = thresholds
        self.range = (max_value + 2 * near) // (2 * near + 1) + 1
        self.qbpp = ceil(log2(self.range))
        bpp = max(2, ceil(log2(max_value + 1)))
        self.limit = 2 * (bpp + max(8, bpp))
        a = max(2, (self.range + 32) // 64)
        self.A, self.N = [a] * 367, [1] * 367
        self.B, self.C, self.Nn = [0] * 367, [0] * 367, [0] * 367
        self.bits = []
        height, width = len(components[0]), len(components[0][0])
        rebuilt = [[[0] * (width + 2)] * 2 for _ in components]  # the rows two and one above, with borders
        run_indices = [0] * len(components)
        for y in range(height):
            rows = []
            for previous in rebuilt:
                above = previous[1]
                above[width + 1] = above[width]
                rows.append([above[1]] + [0] * (width + 1))
            if interleave == 2:
                run_indices[0] = self.code_row(y, list(range(len(components))), rows, rebuilt, run_indices[0])
            else:
                for c in range(len(components)):
                    run_indices[c] = self.code_row(y, [c], rows, rebuilt, run_indices[c])
            rebuilt = [[previous[1], row] for previous, row in zip(rebuilt, rows, strict=True)]

    def code_row(self, y, members, rows, rebuilt, run_index):
        width = len(self.components[0][0])
        x = 1
        while x <= width:
            near_by = []
            for c in members:
                above = rebuilt[c][1]
                near_by.append((rows[c][x - 1], above[x], above[x - 1], above[x + 1]))
            gradients = [(rd - rb, rb - rc, rc - ra) for ra, rb, rc, rd in near_by]
            if any(abs(d) > self.near for g in gradients for d in g):
                for c, neighbours, g in zip(members, near_by, gradients, strict=True):
                    rows[c][x] = self.regular(self.components[c][y][x - 1], neighbours, g)
                x += 1
                continue
            start = x
            while x <= width and all(
                abs(self.components[c][y][x - 1] - rows[c][start - 1]) <= self.near for c in members
            ):
                for c in members:
                    rows[c][x] = rows[c][start - 1]
                x += 1
            count = x - start
            while count >= 1 << J[run_index]:
                self.put(1, 1)
                count -= 1 << J[run_index]
                run_index = min(run_index + 1, 31)
            if x > width:
                if count:
                    self.put(1, 1)
                break
            self.put(count, J[run_index] + 1)
            for c in members:
                ra, rb = rows[c][x - 1], rebuilt[c][1][x]
                like_ra = len(members) == 1 and abs(ra - rb) <= self.near
                rows[c][x] = self.interruption(self.components[c][y][x - 1], ra, rb, like_ra, run_index)
            run_index = max(run_index - 1, 0)
            x += 1
        return run_index

    def put(self, value, length):
        self.bits += [(value >> i) & 1 for i in reversed(range(length))]

    def golomb(self, value, k, limit):
        if value >> k < limit - self.qbpp - 1:
            self.put(1, (value >> k) + 1)
            self.put(value & ((1 << k) - 1), k)
        else:
            self.put(1, limit - self.qbpp)
            self.put(value - 1, self.qbpp)

    def quantise(self, d):
        q = sum(abs(d) >= t for t in (self.near + 1, self.t1, self.t2, self.t3))
        return q if d > 0 else -q

    def reduced(self, error):
        """Quantise an error by NEAR, and reduce it modulo RANGE."""
        step = 2 * self.near + 1
        error = (error + self.near) // step if error > 0 else -((self.near - error) // step)
        if error < 0:
            error += self.range
        return error - self.range if error >= (self.range + 1) // 2 else error

    def rebuilt_sample(self, prediction, error):
        step = 2 * self.near + 1
        value = prediction + error * step
        if value < -self.near:
            value += self.range * step
        elif value > self.max_value + self.near:
            value -= self.range * step
        return min(max(value, 0), self.max_value)

    def regular(self, sample, neighbours, gradients):
        ra, rb, rc, _ = neighbours
        q = [self.quantise(d) for d in gradients]
        number = 81 * q[0] + 9 * q[1] + q[2]
        sign = -1 if number < 0 else 1
        number = abs(number)
        if rc >= max(ra, rb):
            prediction = min(ra, rb)
        elif rc <= min(ra, rb):
            prediction = max(ra, rb)
        else:
            prediction = ra + rb - rc
        prediction = min(max(prediction + sign * self.C[number], 0), self.max_value)
        error = self.reduced(sign * (sample - prediction))
        k = 0
        while self.N[number] << k < self.A[number]:
            k += 1
        if self.near == 0 and k == 0 and 2 * self.B[number] <= -self.N[number]:
            self.golomb(2 * error + 1 if error >= 0 else -2 * (error + 1), k, self.limit)
        else:
            self.golomb(2 * error if error >= 0 else -2 * error - 1, k, self.limit)
        self.update(number, error)
        return self.rebuilt_sample(prediction, sign * error)

    def update(self, number, error):
        a, b, c, n = self.A, self.B, self.C, self.N
        b[number] += error * (2 * self.near + 1)
        a[number] += abs(error)
        if n[number] == self.reset:
            a[number] >>= 1
            b[number] >>= 1
            n[number] >>= 1
        n[number] += 1
        if b[number] <= -n[number]:
            b[number] += n[number]
            c[number] = max(c[number] - 1, -128)
            if b[number] <= -n[number]:
                b[number] = 1 - n[number]
        elif b[number] > 0:
            b[number] -= n[number]
            c[number] = min(c[number] + 1, 127)
            b[number] = min(b[number], 0)

    def interruption(self, sample, ra, rb, like_ra, run_index):
        prediction = ra if like_ra else rb
        sign = -1 if not like_ra and ra > rb else 1
        error = self.reduced(sign * (sample - prediction))
        number = 366 if like_ra else 365
        wanted = self.A[366] + (self.N[366] >> 1) if like_ra else self.A[365]
        k = 0
        while self.N[number] << k < wanted:
            k += 1
        mapping = (
            (k == 0 and error > 0 and 2 * self.Nn[number] < self.N[number])
            or (error < 0 and 2 * self.Nn[number] >= self.N[number])
            or (error < 0 and k != 0)
        )
        mapped = 2 * abs(error) - like_ra - mapping
        self.golomb(mapped, k, self.limit - J[run_index] - 1)
        if error < 0:
            self.Nn[number] += 1
        self.A[number] += (mapped + 1 - like_ra) >> 1
        if self.N[number] == self.reset:
            self.A[number] >>= 1
            self.N[number] >>= 1
            self.Nn[number] >>= 1
        self.N[number] += 1
        return self.rebuilt_sample(prediction, sign * error)

    def stuffed(self):
        """Return the entropy-coded segment."""
        out, byte, room = bytearray(), 0, 8
        for bit in self.bits:
            byte = byte << 1 | bit
            room -= 1
            if room == 0:
                out.append(byte)
                room = 7 if byte == 0xFF else 8
                byte = 0
        if room < 8 and not (room == 7 and out and out[-1] == 0xFF):
            out.append(byte << room)
        elif out and out[-1] == 0xFF:
            out.append(0)
        return bytes(out)
