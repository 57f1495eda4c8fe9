#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What tests/tools/infer/captures.py makes of captures of every kind, whole and damaged."""

import contextlib
import gzip
import os
import random
import sys
import tempfile
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../tools/infer"))
import capture_writer as writer  # noqa: E402
from capture_writer import ACK, FIN, LINKS, PSH, RST, SYN, Conversation, block  # noqa: E402
from captures import Refused, TCP, UDP, flows_of  # noqa: E402

TALK = [(True, b"GET / HTTP/1.1\r\n\r\n"), (False, b"HTTP/1.1 200 OK\r\n\r\n" + bytes(range(256)))]
CLIENT6, SERVER6 = ("2001:db8::1", 40000), ("2001:db8::2", 80)


class Captures(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory(prefix="libebpf-captures-")
        self.addCleanup(self.folder.cleanup)

    def flows(self, content, notes=0):
        path = os.path.join(self.folder.name, "file")
        with open(path, "wb") as file:
            file.write(content)
        flows, said = flows_of(path)
        self.assertEqual(len(said), notes, said)
        return flows

    def ethernet(self, packets, notes=0, **how):
        return self.flows(writer.pcap(1, map(writer.ethernet, packets), **how), notes)

    def messages(self, packets, **how):
        flows = self.ethernet(packets, **how)
        self.assertEqual(len(flows), 1)
        return flows[0].messages

    def refused(self, content, *words):
        with self.assertRaises(Refused) as caught:
            self.flows(content)
        text = str(caught.exception)
        self.assertNotIn("\n", text)
        for word in words:
            self.assertIn(word, text)


class Files(Captures):
    def test_both_byte_orders_and_units_of_time(self):
        for order in "<>":
            for nanoseconds in (False, True):
                self.assertEqual(self.messages(Conversation().whole(TALK), order=order,
                                               nanoseconds=nanoseconds), TALK)

    def test_gzipped(self):
        content = writer.pcap(1, map(writer.ethernet, Conversation().whole(TALK)))
        self.assertEqual(self.flows(gzip.compress(content))[0].messages, TALK)
        self.refused(gzip.compress(content)[:-20], "end-of-stream")
        self.refused(b"\x1f\x8b" + bytes(30), "ile")

    def test_pcapng_with_sections_interfaces_and_options(self):
        first, second = list(Conversation().whole(TALK)), \
            list(Conversation(("10.0.0.9", 50000)).whole(TALK))
        content = b""
        for order, packets in (("<", first), (">", second)):
            content += writer.section(order)
            content += writer.interface(order, 113) + writer.interface(order, 1)
            content += block(order, 4, bytes(8)) + block(order, 0xBAD, b"odd")  # names, unknown
            for at, packet in enumerate(packets):
                if at % 3 == 0:
                    content += writer.packet(order, 1, writer.ethernet(packet))
                elif at % 3 == 1:
                    content += writer.packet(order, 0, LINKS["cooked"][1](packet))
                else:
                    content += writer.old_packet(order, 1, writer.ethernet(packet))
        self.assertEqual([flow.messages for flow in self.flows(content)], [TALK, TALK])

    def test_pcapng_with_simple_packets(self):
        frames = map(writer.ethernet, Conversation().whole(TALK))
        content = writer.section() + writer.interface("<", 1, 100) + \
            b"".join(writer.simple_packet("<", frame, 100) for frame in frames)
        ask, told = (payload for _, payload in self.flows(content)[0].messages)
        self.assertEqual(ask, TALK[0][1])
        self.assertEqual(told[:46], TALK[1][1][:46])
        self.assertEqual(told[46:], bytes(len(told) - 46))

    def test_cut_off_everywhere_leaves_what_is_whole(self):
        frames = list(map(writer.ethernet, Conversation().whole(TALK)))
        ng = writer.section() + writer.interface("<", 1) + \
            b"".join(writer.packet("<", 0, frame) for frame in frames)
        for content in (writer.pcap(1, frames), ng):
            path = os.path.join(self.folder.name, "cut")
            for end in range(0, len(content), 3):
                with open(path, "wb") as file:
                    file.write(content[:end])
                with contextlib.suppress(Refused):
                    flows, notes = flows_of(path)
                    self.assertEqual(flows[0].messages, TALK[:len(flows[0].messages)])
                    self.assertLessEqual(len(notes), 1)

    def test_damage_is_told_in_a_line(self):
        frames = list(map(writer.ethernet, Conversation().whole(TALK)))
        good = writer.pcap(1, frames)
        self.refused(b"", "nothing")
        self.refused(b"GIF89a" + bytes(100), "47494638")
        self.refused(good[:20], "24")
        self.refused(good[:24] + b"\xff" * 16, "cut off", "4294967295")
        self.refused(writer.pcap(147, frames), "147")
        self.refused(writer.pcap(1, []), "0 packets")
        self.refused(writer.section()[:8] + b"????" + writer.section()[12:], "byte order")
        self.refused(writer.section() + writer.packet("<", 3, frames[0]), "contradicts")
        self.refused(writer.section() + writer.interface("<", 1) +
                     block("<", 6, b"\0" * 12 + b"\xff" * 8 + bytes(8)), "contradicts")
        self.refused(writer.section() + b"\6\0\0\0\1\0\0\0" + bytes(20), "cut off")

    def test_garbage_never_breaks_it(self):
        frames = [writer.ethernet(packet) for packet in Conversation().whole(TALK)] + \
            [writer.ethernet(packet) for packet in
             Conversation(CLIENT6, SERVER6).whole(TALK)] + \
            [writer.ethernet(writer.vxlan(packet)) for packet in Conversation().whole(TALK)]
        ng = writer.section() + writer.interface("<", 1) + \
            b"".join(writer.packet("<", 0, frame) for frame in frames)
        chance = random.Random(7)
        path = os.path.join(self.folder.name, "garbage")
        for _ in range(400):
            content = bytearray(chance.choice((writer.pcap(1, frames), ng)))
            for _ in range(chance.randrange(1, 30)):
                content[chance.randrange(24, len(content))] = chance.randrange(256)
            with open(path, "wb") as file:
                file.write(content)
            with contextlib.suppress(Refused):
                flows_of(path)


class Links(Captures):
    def test_every_link_type(self):
        for name, (link, frame) in LINKS.items():
            for ends in ({}, {"client": CLIENT6, "server": SERVER6}):
                with self.subTest(link=name, **ends):
                    packets = Conversation(**ends).whole(TALK)
                    flows = self.flows(writer.pcap(link, map(frame, packets)))
                    self.assertEqual([flow.messages for flow in flows], [TALK])

    def test_tunnels(self):
        for tunnel in (writer.vxlan, writer.gre):
            self.assertEqual(self.messages(map(tunnel, Conversation().whole(TALK))), TALK)
        inside = (writer.ipv4("192.0.2.1", "192.0.2.2", 4, packet)
                  for packet in Conversation().whole(TALK))
        self.assertEqual(self.messages(inside), TALK)

    def test_padding_of_short_frames_is_no_payload(self):
        frames = (writer.ethernet(packet).ljust(60, b"\xee")
                  for packet in Conversation().whole([(True, b"x"), (False, b"y")]))
        self.assertEqual(self.flows(writer.pcap(1, frames))[0].messages,
                         [(True, b"x"), (False, b"y")])

    def test_other_traffic_is_passed_over(self):
        others = [bytes(12) + b"\x08\x06" + bytes(28), bytes(3), b"",
                  writer.ethernet(writer.ipv4("10.0.0.1", "10.0.0.2", 1, bytes(64)))]
        frames = others + [writer.ethernet(packet) for packet in Conversation().whole(TALK)]
        self.assertEqual(self.flows(writer.pcap(1, frames))[0].messages, TALK)


class Ip(Captures):
    QUERY = bytes(range(256)) * 12

    def test_extension_headers(self):
        extensions = [(0, bytes(8)), (60, bytes(16)[:1] + b"\1" + bytes(14)), (43, bytes(8)),
                      (51, b"\0\4" + bytes(22))]
        packet = writer.ipv6(CLIENT6[0], SERVER6[0], UDP, writer.udp(5000, 53, b"query"),
                             extensions)
        flow = self.ethernet([packet])[0]
        self.assertEqual((flow.protocol, flow.messages), (UDP, [(True, b"query")]))

    def test_fragments_in_any_order(self):
        for make, ends in ((writer.fragments_v4, ("10.0.0.1", "10.0.0.2")),
                           (writer.fragments_v6, (CLIENT6[0], SERVER6[0]))):
            parts = list(make(*ends, UDP, writer.udp(5000, 53, self.QUERY), 1000))
            self.assertEqual(len(parts), 4)
            chance = random.Random(3)
            for _ in range(10):
                chance.shuffle(parts)
                self.assertEqual(self.messages(parts + parts[:1]), [(True, self.QUERY)])

    def test_fragments_of_which_one_is_missing(self):
        parts = list(writer.fragments_v4("10.0.0.1", "10.0.0.2", UDP,
                                         writer.udp(5000, 53, self.QUERY), 1000))
        whole = writer.ipv4("10.0.0.1", "10.0.0.2", UDP, writer.udp(5000, 53, b"other"))
        self.assertEqual(self.messages([parts[0], parts[2], parts[3], whole]), [(True, b"other")])

    def test_length_left_to_the_network_card(self):
        packet = writer.ipv4("10.0.0.1", "10.0.0.2", TCP, writer.tcp(5000, 80, 1, b"hello"),
                             total=0)
        self.assertEqual(self.messages([packet]), [(True, b"hello")])

    def test_snap_length_leaves_zeros(self):
        messages = self.messages(Conversation().whole(TALK), snap=64)
        self.assertEqual(messages[0][1], TALK[0][1][:10] + bytes(len(TALK[0][1]) - 10))
        self.assertEqual(len(messages[1][1]), len(TALK[1][1]))


class Streams(Captures):
    def test_sent_again_and_overlapping(self):
        talk = Conversation()
        packets = list(talk.handshake())
        packets += [talk.segment(True, 1000, b"abcdef"), talk.segment(True, 1000, b"abcdef"),
                    talk.segment(True, 1003, b"defghi"), talk.segment(True, 999, b"?"),
                    talk.segment(True, 1000, b"abc"), talk.segment(False, 5000, b"ok", ack=1009)]
        self.assertEqual(self.messages(packets),
                         [(True, b"abcdef"), (True, b"ghi"), (False, b"ok")])

    def test_overtaken(self):
        talk = Conversation()
        packets = [*talk.handshake(), talk.segment(True, 1006, b"ghi"),
                   talk.segment(True, 1003, b"def"), talk.segment(True, 1000, b"abc"),
                   talk.segment(False, 5000, b"ok", ack=1009)]
        self.assertEqual(self.messages(packets), [(True, b"abc"), (True, b"def"), (True, b"ghi"),
                                                  (False, b"ok")])

    def test_a_hole_is_passed_over_when_confirmed(self):
        talk = Conversation()
        packets = [*talk.handshake(), talk.segment(True, 1000, b"abc"),
                   talk.segment(True, 1006, b"ghi"), talk.segment(False, 5000, b"ok", ack=1009),
                   talk.segment(True, 1003, b"def"), talk.segment(True, 1009, b"jkl")]
        self.assertEqual(self.messages(packets), [(True, b"abc"), (True, b"ghi"), (False, b"ok"),
                                                  (True, b"jkl")])
        self.assertEqual(self.messages(packets[:5]), [(True, b"abc"), (True, b"ghi")])

    def test_over_the_end_of_the_sequence_numbers(self):
        talk = Conversation(seqs=(0xFFFFFFFE, 0xFFFFFFF0), mtu=5)
        messages = [(True, b"0123456789"), (False, b"abcdefghijklmnopqrstuvwxyz")]
        got = self.messages(talk.whole(messages))
        for side in (True, False):
            self.assertEqual(b"".join(part for one, part in got if one is side),
                             b"".join(part for one, part in messages if one is side))

    def test_a_capture_that_begins_in_the_middle(self):
        packets = list(Conversation().whole(TALK))[3:]
        self.assertEqual(self.messages(packets), TALK)
        talk = Conversation()
        packets = [talk.segment(True, 999, b"\0", flags=ACK), talk.segment(False, 5000, flags=ACK),
                   *talk.say(True, b"query")]
        self.assertEqual(self.messages(packets), [(True, b"query")])

    def test_the_client_is_who_opened_it(self):
        odd = {"client": ("10.0.0.1", 80), "server": ("10.0.0.2", 50000)}
        for skip in (0, 1):
            packets = list(Conversation(**odd).whole(TALK))[skip:]
            flow = self.ethernet(packets)[0]
            self.assertEqual(flow.server[1], 50000)
            self.assertEqual(flow.messages, TALK)

    def test_ports_that_are_used_again(self):
        first, second = Conversation(), Conversation(seqs=(90000, 95000))
        packets = list(first.whole(TALK)) + list(second.whole(TALK))
        self.assertEqual([flow.messages for flow in self.ethernet(packets)], [TALK, TALK])
        again = list(Conversation().whole(TALK))
        again.insert(1, again[0])  # SYN sent again
        self.assertEqual(self.messages(again), TALK)

    def test_reset(self):
        talk = Conversation()
        packets = [*talk.handshake(), *talk.say(True, b"abc"),
                   talk.segment(False, 5000, b"text of a reset", RST | ACK)]
        self.assertEqual(self.messages(packets), [(True, b"abc")])

    def test_data_beside_flags(self):
        talk = Conversation()
        packets = [talk.segment(True, 999, b"fast", SYN, ack=0),
                   talk.segment(False, 4999, b"", SYN | ACK, ack=1004),
                   talk.segment(True, 1004, b"end", FIN | PSH | ACK)]
        self.assertEqual(self.messages(packets), [(True, b"fast"), (True, b"end")])

    def test_headers_that_lie(self):
        for segment in (writer.tcp(1, 80, 0, b"x" * 20)[:12] + b"\xf0" + bytes(27),
                        writer.tcp(1, 80, 0, b"x")[:12] + b"\x10" + bytes(8),
                        writer.tcp(1, 80, 0)[:15], bytes(3)):
            packets = [writer.ipv4("10.0.0.9", "10.0.0.2", TCP, segment),
                       *Conversation().whole(TALK)]
            self.assertEqual(self.messages(packets), TALK)


if __name__ == "__main__":
    unittest.main()
