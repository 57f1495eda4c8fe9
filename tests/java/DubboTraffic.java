// SPDX-License-Identifier: Apache-2.0
// A Dubbo provider at HOST PORT, and consumers that call it, each with another serialization.

import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import org.apache.dubbo.config.ApplicationConfig;
import org.apache.dubbo.config.ProtocolConfig;
import org.apache.dubbo.config.ReferenceConfig;
import org.apache.dubbo.config.RegistryConfig;
import org.apache.dubbo.config.ServiceConfig;
import org.apache.dubbo.config.bootstrap.DubboBootstrap;

public class DubboTraffic {
    private static final int CALLS = 150;

    public interface Shop {
        String order(String item, int count);

        List<String> list(int count);

        void fail(String why);
    }

    public static class ShopService implements Shop {
        public String order(String item, int count) {
            return item.repeat(count);
        }

        public List<String> list(int count) {
            return new ArrayList<>(Collections.nCopies(count, "an item"));
        }

        public void fail(String why) {
            throw new IllegalStateException(why);
        }
    }

    public static void main(String[] arguments) {
        String host = arguments[0];
        int port = Integer.parseInt(arguments[1]);
        ProtocolConfig protocol = new ProtocolConfig("dubbo", port);
        protocol.setHost(host);
        ServiceConfig<Shop> service = new ServiceConfig<>();
        service.setInterface(Shop.class);
        service.setRef(new ShopService());
        service.setScope("remote"); // not past the network, within this process
        ApplicationConfig application = new ApplicationConfig("traffic");
        application.setQosEnable(false);
        DubboBootstrap.getInstance().application(application)
            .registry(new RegistryConfig("N/A")).protocol(protocol).service(service).start();
        for (String serialization : new String[] {"hessian2", "fastjson2"}) {
            call("dubbo://" + host + ":" + port + "/" + Shop.class.getName()
                + "?serialization=" + serialization);
        }
        System.exit(0);
    }

    private static void call(String url) {
        ReferenceConfig<Shop> reference = new ReferenceConfig<>();
        reference.setInterface(Shop.class);
        reference.setScope("remote");
        reference.setUrl(url);
        Shop shop = reference.get();
        for (int i = 0; i < CALLS; i++) {
            if (!shop.order("x", i).equals("x".repeat(i)) || shop.list(i * 10).size() != i * 10) {
                throw new IllegalStateException("a wrong answer");
            }
            try {
                shop.fail("number " + i);
                throw new AssertionError("no failure came back");
            } catch (IllegalStateException expected) {
                continue;
            }
        }
    }
}
