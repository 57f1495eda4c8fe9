// SPDX-License-Identifier: Apache-2.0
// A topic, messages to it and from it, and questions about it, against a broker: HOST:PORT.

import java.time.Duration;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;

public class KafkaTraffic {
    private static final int MESSAGES = 900;
    private static final String TOPIC = "orders";

    public static void main(String[] arguments) throws Exception {
        String broker = arguments[0];
        try (Admin admin = Admin.create(Map.of("bootstrap.servers", broker))) {
            admin.createTopics(List.of(new NewTopic(TOPIC, 2, (short) 1))).all().get();
            admin.describeCluster().nodes().get();
            admin.describeConfigs(List.of()).all().get();
        }
        produce(broker, "none", true);
        produce(broker, "gzip", false);
        consume(broker, 2 * MESSAGES);
        System.exit(0);
    }

    private static Properties client(String broker, String kind) {
        Properties properties = new Properties();
        properties.put("bootstrap.servers", broker);
        for (String side : new String[] {"key", "value"}) {
            properties.put(side + "." + kind, "org.apache.kafka.common.serialization.String"
                + (kind.startsWith("d") ? "Deserializer" : "Serializer"));
        }
        return properties;
    }

    private static void produce(String broker, String compression, boolean oneByOne)
            throws Exception {
        Properties properties = client(broker, "serializer");
        properties.put("compression.type", compression);
        try (KafkaProducer<String, String> producer = new KafkaProducer<>(properties)) {
            for (int i = 0; i < MESSAGES; i++) {
                var sent = producer.send(new ProducerRecord<>(TOPIC, "key" + i, "v".repeat(i % 300)));
                if (oneByOne) sent.get();
            }
        }
    }

    private static void consume(String broker, int wanted) {
        Properties properties = client(broker, "deserializer");
        properties.put("group.id", "shop");
        properties.put("auto.offset.reset", "earliest");
        properties.put("max.poll.records", "20");
        properties.put("max.partition.fetch.bytes", "4000");
        try (KafkaConsumer<String, String> consumer = new KafkaConsumer<>(properties)) {
            consumer.subscribe(List.of(TOPIC));
            long deadline = System.nanoTime() + Duration.ofSeconds(20).toNanos();
            int seen = 0;
            while (seen < wanted) {
                seen += consumer.poll(Duration.ofMillis(200)).count();
                consumer.commitSync();
                if (System.nanoTime() > deadline) {
                    throw new IllegalStateException(seen + " of " + wanted + " messages came back");
                }
            }
        }
    }
}
